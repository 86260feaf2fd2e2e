"""How `make lab` starts JupyterLab, whatever the user's own settings say: for this machine alone, and with a token.

What is said in `make lab ARGS="..."` goes before this.
"""

import secrets
import sys

c = get_config()  # noqa: F821  # Jupyter has it
c.ServerApp.ip = "127.0.0.1"
c.IdentityProvider.token = secrets.token_hex(24)
print(f"the token of this server: {c.IdentityProvider.token}", file=sys.stderr)  # Jupyter shows only one of its own

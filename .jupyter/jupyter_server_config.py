"""How `make lab` starts JupyterLab, whatever the user's own settings are: for this machine alone, and with a token.

Options in `make lab ARGS=...` go before this.
"""

import secrets

c = get_config()  # noqa: F821  # Jupyter gives it
c.ServerApp.ip = "127.0.0.1"
c.IdentityProvider.token = secrets.token_hex(24)

"""The arithmetic of the convolution block on a GPU, in Triton: what one program of a grid does for its slice.

A program works for one trial (and one digit of its pairs): no sum runs over trials. Two kernels go forwards and four
back, because the two blocks of the networks differ: the first reads images of one channel, so that its convolution is
nine multiplications per output and is computed again rather than stored; the second is a matrix product over channels
and taps, whose patches are read from where they lie, and whose result is kept for the way back.

Every kernel takes float32 or float64; matrix products are as exact as `EXACT` says. Positions are `p` of a pooled map,
a window of four outputs of the convolution (a b / c d), or `r` of the convolution itself, over all images of a batch.
Weights of the second block come as `[trials, 3 x 3, channels, outputs]`, so that neighbours are read together.
"""

import triton
import triton.language as tl


@triton.jit
def four(at, inside):
    """Read four pixels in a row."""
    return (
        tl.load(at, inside, 0.0),
        tl.load(at + 1, inside, 0.0),
        tl.load(at + 2, inside, 0.0),
        tl.load(at + 3, inside, 0.0),
    )


@triton.jit
def nine(a0, a1, a2, a3, a4, a5, a6, a7, a8, w0, w1, w2, w3, w4, w5, w6, w7, w8):
    """Add up nine products: a 3x3 patch times a kernel."""
    return a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3 + a4 * w4 + a5 * w5 + a6 * w6 + a7 * w7 + a8 * w8


@triton.jit
def patch(x, stride, p, n, SIZE: tl.constexpr, Q: tl.constexpr):
    """Read the 4x4 pixels under the windows at `p` `[1, P]` of images `stride` apart; nothing beyond `n`."""
    spot = p % (Q * Q)
    at = x + p // (Q * Q) * stride + spot // Q * (2 * SIZE) + spot % Q * 2
    a0, a1, a2, a3 = four(at, p < n)
    b0, b1, b2, b3 = four(at + SIZE, p < n)
    c0, c1, c2, c3 = four(at + 2 * SIZE, p < n)
    d0, d1, d2, d3 = four(at + 3 * SIZE, p < n)
    return a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3


@triton.jit
def kernel_of(weight):
    """Read the nine weights at `weight` `[CH, 1]`."""
    return (
        tl.load(weight),
        tl.load(weight + 1),
        tl.load(weight + 2),
        tl.load(weight + 3),
        tl.load(weight + 4),
        tl.load(weight + 5),
        tl.load(weight + 6),
        tl.load(weight + 7),
        tl.load(weight + 8),
    )


@triton.jit
def window(x, stride, p, n, w0, w1, w2, w3, w4, w5, w6, w7, w8, SIZE: tl.constexpr, Q: tl.constexpr):
    """Convolve images: the four outputs `[CH, P]` of each window."""
    a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3 = patch(x, stride, p, n, SIZE, Q)
    a = nine(a0, a1, a2, b0, b1, b2, c0, c1, c2, w0, w1, w2, w3, w4, w5, w6, w7, w8)
    b = nine(a1, a2, a3, b1, b2, b3, c1, c2, c3, w0, w1, w2, w3, w4, w5, w6, w7, w8)
    c = nine(b0, b1, b2, c0, c1, c2, d0, d1, d2, w0, w1, w2, w3, w4, w5, w6, w7, w8)
    d = nine(b1, b2, b3, c1, c2, c3, d1, d2, d3, w0, w1, w2, w3, w4, w5, w6, w7, w8)
    return a, b, c, d


@triton.jit
def pooled(a, b, c, d, scale, shift):
    """Normalise a window and return its greatest, not below 0."""
    top = tl.maximum(tl.maximum(a * scale + shift, b * scale + shift), tl.maximum(c * scale + shift, d * scale + shift))
    return tl.maximum(top, 0.0)


@triton.jit
def shared_out(a, b, c, d, scale, shift, gradient):
    """Send the gradient of a window's greatest back to the first output that was it; none where ReLU gave 0."""
    u, v, w, z = a * scale + shift, b * scale + shift, c * scale + shift, d * scale + shift
    top = tl.maximum(tl.maximum(u, v), tl.maximum(w, z))
    left = tl.where(top > 0, gradient, 0.0)
    ga = tl.where(u == top, left, 0.0)
    left = left - ga
    gb = tl.where(v == top, left, 0.0)
    left = left - gb
    gc = tl.where(w == top, left, 0.0)
    return ga, gb, gc, left - gc


@triton.jit
def first_forward(
    x, weight, gamma, beta, y, mean, var,
    of_trial, of_image, of_digit, batch, digits, eps,
    C: tl.constexpr, CH: tl.constexpr, SIZE: tl.constexpr, Q: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Train the first block forwards; grid (trials x digits, C / CH)."""
    trial, digit = (tl.program_id(0) // digits).to(tl.int64), tl.program_id(0) % digits
    channel = tl.program_id(1) * CH + tl.arange(0, CH)[:, None]
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = kernel_of(weight + (trial * C + channel) * 9)
    x += trial * of_trial + digit * of_digit
    n, step = batch * Q * Q, tl.arange(0, P)[None, :]
    # The variance about a mean close to the true one, so that no digits cancel: that of the first windows.
    a, b, c, d = window(x, of_image, step, n, w0, w1, w2, w3, w4, w5, w6, w7, w8, SIZE, Q)
    near = tl.sum(a + b + c + d, 1)[:, None] / (4 * tl.minimum(n, P))
    total, squares = tl.zeros_like(a), tl.zeros_like(a)
    for start in range(0, n, P):
        p = start + step
        a, b, c, d = window(x, of_image, p, n, w0, w1, w2, w3, w4, w5, w6, w7, w8, SIZE, Q)
        a, b, c, d = a - near, b - near, c - near, d - near
        total += tl.where(p < n, (a + b) + (c + d), 0.0)
        squares += tl.where(p < n, (a * a + b * b) + (c * c + d * d), 0.0)
    off = tl.sum(total, 1)[:, None] / (4 * n)
    spread = tl.sum(squares, 1)[:, None] / (4 * n) - off * off
    middle = near + off
    tl.store(mean + (trial * digits + digit) * C + channel, middle)
    tl.store(var + (trial * digits + digit) * C + channel, spread)
    scale = tl.load(gamma + trial * C + channel) / tl.sqrt(spread + eps)
    shift = tl.load(beta + trial * C + channel) - middle * scale
    y += (trial * batch * digits + digit) * C * Q * Q
    for start in range(0, n, P):
        p = start + step
        a, b, c, d = window(x, of_image, p, n, w0, w1, w2, w3, w4, w5, w6, w7, w8, SIZE, Q)
        at = y + p // (Q * Q) * (digits * C * Q * Q) + channel * (Q * Q) + p % (Q * Q)
        tl.store(at, pooled(a, b, c, d, scale, shift), p < n)


@triton.jit
def first_backward(
    gradient, x, weight, gamma, beta, mean, var, dweight, dgamma, dbeta,
    of_trial, of_image, of_digit, batch, digits, eps,
    C: tl.constexpr, CH: tl.constexpr, SIZE: tl.constexpr, Q: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Gradients of the first block's weight, gamma and beta; grid (trials, C / CH). The convolution is done again."""
    trial = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CH + tl.arange(0, CH)[:, None]
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = kernel_of(weight + (trial * C + channel) * 9)
    factor, offset = tl.load(gamma + trial * C + channel), tl.load(beta + trial * C + channel)
    n, step = batch * Q * Q, tl.arange(0, P)[None, :]
    whole_gamma, whole_beta = tl.zeros_like(factor), tl.zeros_like(factor)
    s0 = tl.zeros([CH, P], factor.dtype)
    s1, s2, s3, s4 = tl.zeros_like(s0), tl.zeros_like(s0), tl.zeros_like(s0), tl.zeros_like(s0)
    s5, s6, s7, s8 = tl.zeros_like(s0), tl.zeros_like(s0), tl.zeros_like(s0), tl.zeros_like(s0)
    for digit in range(digits):
        here = x + trial * of_trial + digit * of_digit
        back = gradient + (trial * batch * digits + digit) * C * Q * Q
        middle = tl.load(mean + (trial * digits + digit) * C + channel)
        inverse = 1 / tl.sqrt(tl.load(var + (trial * digits + digit) * C + channel) + eps)
        scale = factor * inverse
        shift = offset - middle * scale
        of_gamma, of_beta = tl.zeros_like(s0), tl.zeros_like(s0)
        for start in range(0, n, P):
            p = start + step
            a, b, c, d = window(here, of_image, p, n, w0, w1, w2, w3, w4, w5, w6, w7, w8, SIZE, Q)
            at = back + p // (Q * Q) * (digits * C * Q * Q) + channel * (Q * Q) + p % (Q * Q)
            g = tl.load(at, p < n, 0.0)
            ga, gb, gc, gd = shared_out(a, b, c, d, scale, shift, g)
            of_beta += (ga + gb) + (gc + gd)
            of_gamma += ga * (a - middle) + gb * (b - middle) + gc * (c - middle) + gd * (d - middle)
        sum_beta, sum_gamma = tl.sum(of_beta, 1)[:, None], tl.sum(of_gamma, 1)[:, None] * inverse
        whole_beta += sum_beta
        whole_gamma += sum_gamma
        # What normalising takes away from every output: the mean gradient, and the part along the output itself.
        level = sum_beta / (4 * n)
        slope = sum_gamma / (4 * n) * inverse
        for start in range(0, n, P):
            p = start + step
            a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3 = patch(here, of_image, p, n, SIZE, Q)
            a = nine(a0, a1, a2, b0, b1, b2, c0, c1, c2, w0, w1, w2, w3, w4, w5, w6, w7, w8)
            b = nine(a1, a2, a3, b1, b2, b3, c1, c2, c3, w0, w1, w2, w3, w4, w5, w6, w7, w8)
            c = nine(b0, b1, b2, c0, c1, c2, d0, d1, d2, w0, w1, w2, w3, w4, w5, w6, w7, w8)
            d = nine(b1, b2, b3, c1, c2, c3, d1, d2, d3, w0, w1, w2, w3, w4, w5, w6, w7, w8)
            at = back + p // (Q * Q) * (digits * C * Q * Q) + channel * (Q * Q) + p % (Q * Q)
            g = tl.load(at, p < n, 0.0)
            ga, gb, gc, gd = shared_out(a, b, c, d, scale, shift, g)
            ga = scale * (ga - level - slope * (a - middle))
            gb = scale * (gb - level - slope * (b - middle))
            gc = scale * (gc - level - slope * (c - middle))
            gd = scale * (gd - level - slope * (d - middle))
            s0 += (ga * a0 + gb * a1) + (gc * b0 + gd * b1)
            s1 += (ga * a1 + gb * a2) + (gc * b1 + gd * b2)
            s2 += (ga * a2 + gb * a3) + (gc * b2 + gd * b3)
            s3 += (ga * b0 + gb * b1) + (gc * c0 + gd * c1)
            s4 += (ga * b1 + gb * b2) + (gc * c1 + gd * c2)
            s5 += (ga * b2 + gb * b3) + (gc * c2 + gd * c3)
            s6 += (ga * c0 + gb * c1) + (gc * d0 + gd * d1)
            s7 += (ga * c1 + gb * c2) + (gc * d1 + gd * d2)
            s8 += (ga * c2 + gb * c3) + (gc * d2 + gd * d3)
    at = dweight + (trial * C + channel) * 9
    tl.store(at, tl.sum(s0, 1)[:, None])
    tl.store(at + 1, tl.sum(s1, 1)[:, None])
    tl.store(at + 2, tl.sum(s2, 1)[:, None])
    tl.store(at + 3, tl.sum(s3, 1)[:, None])
    tl.store(at + 4, tl.sum(s4, 1)[:, None])
    tl.store(at + 5, tl.sum(s5, 1)[:, None])
    tl.store(at + 6, tl.sum(s6, 1)[:, None])
    tl.store(at + 7, tl.sum(s7, 1)[:, None])
    tl.store(at + 8, tl.sum(s8, 1)[:, None])
    tl.store(dgamma + trial * C + channel, whole_gamma)
    tl.store(dbeta + trial * C + channel, whole_beta)


@triton.jit
def first_test(
    x, weight, gamma, beta, mean, var, y,
    of_trial, of_image, of_digit, batch, digits, eps, each,
    C: tl.constexpr, CH: tl.constexpr, SIZE: tl.constexpr, Q: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Test the first block: running statistics; grid (trials x digits, C / CH, parts of `each` windows)."""
    trial, digit = (tl.program_id(0) // digits).to(tl.int64), tl.program_id(0) % digits
    channel = tl.program_id(1) * CH + tl.arange(0, CH)[:, None]
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = kernel_of(weight + (trial * C + channel) * 9)
    x += trial * of_trial + digit * of_digit
    n, step = batch * Q * Q, tl.arange(0, P)[None, :]
    scale = tl.load(gamma + trial * C + channel) / tl.sqrt(tl.load(var + trial * C + channel) + eps)
    shift = tl.load(beta + trial * C + channel) - tl.load(mean + trial * C + channel) * scale
    y += (trial * batch * digits + digit) * C * Q * Q
    begin = tl.program_id(2) * each
    for start in range(begin, tl.minimum(begin + each, n), P):
        p = start + step
        a, b, c, d = window(x, of_image, p, n, w0, w1, w2, w3, w4, w5, w6, w7, w8, SIZE, Q)
        at = y + p // (Q * Q) * (digits * C * Q * Q) + channel * (Q * Q) + p % (Q * Q)
        tl.store(at, pooled(a, b, c, d, scale, shift), p < n)


@triton.jit
def convolved(
    x, at, inside, weight,
    IN: tl.constexpr, C: tl.constexpr, OC: tl.constexpr, SIZE: tl.constexpr, M: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Convolve maps of IN channels at the M places `at`: nine products of `[M, IN]` and `[IN, OC]`."""
    channel, output = tl.arange(0, IN)[:, None], tl.arange(0, OC)[None, :]
    total = tl.zeros([M, OC], x.dtype.element_ty)
    for tap in range(9):
        read = x + at[None, :] + channel * (SIZE * SIZE) + (tap // 3 * SIZE + tap % 3)
        maps = tl.load(read, inside[None, :], 0.0)
        kernel = tl.load(weight + (tap * IN + channel) * C + output)
        total = tl.dot(tl.trans(maps), kernel, total, input_precision=EXACT, out_dtype=x.dtype.element_ty)
    return total


@triton.jit
def second_forward(
    x, weight, gamma, beta, y, z, mean, var,
    of_trial, of_image, of_digit, batch, digits, eps,
    IN: tl.constexpr, C: tl.constexpr, OC: tl.constexpr, SIZE: tl.constexpr, M: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Train the second block forwards; grid (trials x digits, C / OC). `z` keeps the convolution, its channels last."""
    E: tl.constexpr = SIZE - 2
    Q: tl.constexpr = E // 2
    pair = tl.program_id(0).to(tl.int64)
    trial, digit = pair // digits, pair % digits
    output = tl.program_id(1) * OC + tl.arange(0, OC)[None, :]
    x += trial * of_trial + digit * of_digit
    weight += trial * (9 * IN * C) + tl.program_id(1) * OC
    n, step = batch * E * E, tl.arange(0, M)
    z += pair * n * C
    total = tl.zeros([M, OC], x.dtype.element_ty)
    for start in range(0, n, M):
        r = start + step
        spot = r % (E * E)
        at = r // (E * E) * of_image + spot // E * SIZE + spot % E
        part = convolved(x, at, r < n, weight, IN, C, OC, SIZE, M, EXACT)
        tl.store(z + r[:, None] * C + output, part, r[:, None] < n)
        total += part
    middle = tl.sum(total, 0)[None, :] / n
    tl.debug_barrier()
    squares = tl.zeros([M, OC], x.dtype.element_ty)
    for start in range(0, n, M):
        r = start + step[:, None]
        off = tl.where(r < n, tl.load(z + r * C + output, r < n, 0.0) - middle, 0.0)
        squares += off * off
    spread = tl.sum(squares, 0)[None, :] / n
    tl.store(mean + pair * C + output, middle)
    tl.store(var + pair * C + output, spread)
    scale = tl.load(gamma + trial * C + output) / tl.sqrt(spread + eps)
    shift = tl.load(beta + trial * C + output) - middle * scale
    y += (trial * batch * digits + digit) * C * Q * Q
    for start in range(0, batch * Q * Q, M):
        p = start + step[:, None]
        inside = p < batch * Q * Q
        spot = p % (Q * Q)
        at = z + (p // (Q * Q) * (E * E) + spot // Q * (2 * E) + spot % Q * 2) * C + output
        a, b = tl.load(at, inside, 0.0), tl.load(at + C, inside, 0.0)
        c, d = tl.load(at + E * C, inside, 0.0), tl.load(at + E * C + C, inside, 0.0)
        at = y + p // (Q * Q) * (digits * C * Q * Q) + output * (Q * Q) + spot
        tl.store(at, pooled(a, b, c, d, scale, shift), inside)


@triton.jit
def second_centre(
    gradient, z, gamma, beta, mean, var, dz, dgamma, dbeta, batch, digits, eps,
    C: tl.constexpr, OC: tl.constexpr, SIZE: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    """Gradients of the second block's convolution (as `z`), gamma and beta; grid (trials, C / OC)."""
    E: tl.constexpr = SIZE - 2
    Q: tl.constexpr = E // 2
    trial = tl.program_id(0).to(tl.int64)
    output = tl.program_id(1) * OC + tl.arange(0, OC)[None, :]
    factor, offset = tl.load(gamma + trial * C + output), tl.load(beta + trial * C + output)
    n, step = batch * Q * Q, tl.arange(0, M)[:, None]
    whole_gamma, whole_beta = tl.zeros_like(factor), tl.zeros_like(factor)
    for digit in range(digits):
        pair = trial * digits + digit
        back = gradient + (trial * batch * digits + digit) * C * Q * Q
        middle = tl.load(mean + pair * C + output)
        inverse = 1 / tl.sqrt(tl.load(var + pair * C + output) + eps)
        scale = factor * inverse
        shift = offset - middle * scale
        of_gamma, of_beta = tl.zeros([M, OC], factor.dtype), tl.zeros([M, OC], factor.dtype)
        for start in range(0, n, M):
            p = start + step
            spot = p % (Q * Q)
            place = pair * batch * E * E + p // (Q * Q) * (E * E) + spot // Q * (2 * E) + spot % Q * 2
            at = z + place * C + output
            a, b = tl.load(at, p < n, 0.0), tl.load(at + C, p < n, 0.0)
            c, d = tl.load(at + E * C, p < n, 0.0), tl.load(at + E * C + C, p < n, 0.0)
            g = tl.load(back + p // (Q * Q) * (digits * C * Q * Q) + output * (Q * Q) + spot, p < n, 0.0)
            ga, gb, gc, gd = shared_out(a, b, c, d, scale, shift, g)
            of_beta += (ga + gb) + (gc + gd)
            of_gamma += ga * (a - middle) + gb * (b - middle) + gc * (c - middle) + gd * (d - middle)
        sum_beta, sum_gamma = tl.sum(of_beta, 0)[None, :], tl.sum(of_gamma, 0)[None, :] * inverse
        whole_beta += sum_beta
        whole_gamma += sum_gamma
        level = sum_beta / (4 * n)
        slope = sum_gamma / (4 * n) * inverse
        for start in range(0, n, M):
            p = start + step
            spot = p % (Q * Q)
            place = pair * batch * E * E + p // (Q * Q) * (E * E) + spot // Q * (2 * E) + spot % Q * 2
            at = z + place * C + output
            a, b = tl.load(at, p < n, 0.0), tl.load(at + C, p < n, 0.0)
            c, d = tl.load(at + E * C, p < n, 0.0), tl.load(at + E * C + C, p < n, 0.0)
            g = tl.load(back + p // (Q * Q) * (digits * C * Q * Q) + output * (Q * Q) + spot, p < n, 0.0)
            ga, gb, gc, gd = shared_out(a, b, c, d, scale, shift, g)
            at = dz + place * C + output
            tl.store(at, scale * (ga - level - slope * (a - middle)), p < n)
            tl.store(at + C, scale * (gb - level - slope * (b - middle)), p < n)
            tl.store(at + E * C, scale * (gc - level - slope * (c - middle)), p < n)
            tl.store(at + E * C + C, scale * (gd - level - slope * (d - middle)), p < n)
    tl.store(dgamma + trial * C + output, whole_gamma)
    tl.store(dbeta + trial * C + output, whole_beta)


@triton.jit
def second_weight(
    dz, x, dweight, of_trial, of_image, of_digit, batch, digits,
    IN: tl.constexpr, C: tl.constexpr, SIZE: tl.constexpr, K: tl.constexpr, R: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Gradient of the second block's weights; grid (trials, 9 IN / K). A product over all places of both digits."""
    E: tl.constexpr = SIZE - 2
    trial = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * K + tl.arange(0, K)
    tap = k % 9
    shift = k // 9 * (SIZE * SIZE) + tap // 3 * SIZE + tap % 3
    n, step, output = batch * E * E, tl.arange(0, R), tl.arange(0, C)
    total = tl.zeros([K, C], x.dtype.element_ty)
    for digit in range(digits):
        here, back = x + trial * of_trial + digit * of_digit, dz + (trial * digits + digit) * n * C
        for start in range(0, n, R):
            r = start + step
            spot = r % (E * E)
            at = r // (E * E) * of_image + spot // E * SIZE + spot % E
            maps = tl.load(here + at[None, :] + shift[:, None], (r < n)[None, :] & (k < 9 * IN)[:, None], 0.0)
            g = tl.load(back + r[:, None] * C + output[None, :], (r < n)[:, None], 0.0)
            total = tl.dot(maps, g, total, input_precision=EXACT, out_dtype=x.dtype.element_ty)
    at = dweight + trial * (C * IN * 9) + output[None, :] * (IN * 9) + k[:, None]
    tl.store(at, total, (k < 9 * IN)[:, None])


@triton.jit
def second_input(
    dz, weight, dx, batch, digits,
    IN: tl.constexpr, C: tl.constexpr, SIZE: tl.constexpr, M: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Gradient of the second block's maps; grid (trials x digits, places / M): each place gathers from its 3x3."""
    E: tl.constexpr = SIZE - 2
    S: tl.constexpr = SIZE * SIZE
    pair = tl.program_id(0).to(tl.int64)
    trial, digit = pair // digits, pair % digits
    r = tl.program_id(1) * M + tl.arange(0, M)
    image, row, column = r // S, r % S // SIZE, r % SIZE
    channel, output = tl.arange(0, IN)[:, None], tl.arange(0, C)
    dz += pair * batch * (E * E) * C
    weight += trial * (C * IN * 9)
    total = tl.zeros([M, IN], dz.dtype.element_ty)
    for tap in range(9):
        i, j = row - tap // 3, column - tap % 3
        inside = (i >= 0) & (i < E) & (j >= 0) & (j < E) & (image < batch)
        g = tl.load(dz + (image * (E * E) + i * E + j)[:, None] * C + output[None, :], inside[:, None], 0.0)
        kernel = tl.load(weight + (tap * IN + channel) * C + output[None, :])
        total = tl.dot(g, tl.trans(kernel), total, input_precision=EXACT, out_dtype=dz.dtype.element_ty)
    at = dx + (trial * batch * digits + digit) * (IN * S) + image * (digits * IN * S) + r % S
    tl.store(at[None, :] + channel * S, tl.trans(total), (image < batch)[None, :])


@triton.jit
def second_test(
    x, weight, gamma, beta, mean, var, y, of_trial, of_image, of_digit, batch, digits, eps, each,
    IN: tl.constexpr, C: tl.constexpr, OC: tl.constexpr, SIZE: tl.constexpr, M: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Test the second block: running statistics; grid (trials x digits, C / OC, parts of `each` windows)."""
    E: tl.constexpr = SIZE - 2
    Q: tl.constexpr = E // 2
    pair = tl.program_id(0).to(tl.int64)
    trial, digit = pair // digits, pair % digits
    output = tl.program_id(1) * OC + tl.arange(0, OC)[None, :]
    scale = tl.load(gamma + trial * C + output) / tl.sqrt(tl.load(var + trial * C + output) + eps)
    shift = tl.load(beta + trial * C + output) - tl.load(mean + trial * C + output) * scale
    x += trial * of_trial + digit * of_digit
    y += (trial * batch * digits + digit) * C * Q * Q
    weight += trial * (9 * IN * C) + tl.program_id(1) * OC
    n, begin = batch * Q * Q, tl.program_id(2) * each
    for start in range(begin, tl.minimum(begin + each, n), M):
        p = start + tl.arange(0, M)
        spot = p % (Q * Q)
        at = p // (Q * Q) * of_image + spot // Q * (2 * SIZE) + spot % Q * 2
        a = convolved(x, at, p < n, weight, IN, C, OC, SIZE, M, EXACT)
        b = convolved(x, at + 1, p < n, weight, IN, C, OC, SIZE, M, EXACT)
        c = convolved(x, at + SIZE, p < n, weight, IN, C, OC, SIZE, M, EXACT)
        d = convolved(x, at + SIZE + 1, p < n, weight, IN, C, OC, SIZE, M, EXACT)
        at = p[:, None] // (Q * Q) * (digits * C * Q * Q) + output * (Q * Q) + spot[:, None]
        tl.store(y + at, pooled(a, b, c, d, scale, shift), p[:, None] < n)


@triton.jit
def learn_statistics(running_mean, running_var, mean, var, digits, momentum, unbiased, C: tl.constexpr):
    """Move a trial's running statistics by each digit's in turn; grid (trials,)."""
    trial, channel = tl.program_id(0), tl.arange(0, C)
    own_mean, own_var = tl.load(running_mean + trial * C + channel), tl.load(running_var + trial * C + channel)
    for digit in range(digits):
        at = (trial * digits + digit) * C + channel
        own_mean += momentum * (tl.load(mean + at) - own_mean)
        own_var += momentum * (tl.load(var + at) * unbiased - own_var)
    tl.store(running_mean + trial * C + channel, own_mean)
    tl.store(running_var + trial * C + channel, own_var)

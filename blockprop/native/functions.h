/* Functions of each element of a vector, to a few units in the last place. NaN stays NaN. */
#ifndef BLOCKPROP_FUNCTIONS_H
#define BLOCKPROP_FUNCTIONS_H

#include "vector.h"

enum { IDENTITY, RELU, LEAKY_RELU, SIGMOID, TANH };

INLINE vec choice(ivec mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }

/* eˣ = 2ⁿ eʳ, |r| ≤ log 2 / 2, eʳ by a polynomial (Moshier, Cephes 1989: expf); 0 below −86, e⁸⁸ above 88. */
INLINE vec exponential(vec x) {
    const vec magic = all(12582912.0f); /* adding it rounds to a whole number, which then stands in the last bits */
    ivec tiny = x < -86.0f;
    x = choice(x > 88.0f, all(88.0f), x);
    vec shifted = x * 1.44269504088896341f + magic, n = shifted - magic;
    vec r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return where(~tiny, (vec)((ivec)p + ((ivec)shifted << 23)));
}

/* tanh x = x + x³ P(x²) near 0 (Moshier), ±(1 − 2 / (e^2|x| + 1)) elsewhere. */
INLINE vec hyperbolic_tangent(vec x) {
    vec size = choice(x < 0, -x, x), square = x * x;
    vec p = square * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    vec far = 1.0f - 2.0f / (exponential(2.0f * size) + 1.0f);
    return choice(size < 0.625f, p * square * x + x, choice(x < 0, -far, far));
}

/* log x for x ≥ 1:  x = 2ⁿ m,  log m = 2 artanh z,  z = (m − 1) / (m + 1) */
INLINE double logarithm(double x) {
    int64_t bits;
    if (!(x < 1e308)) return x;
    memcpy(&bits, &x, 8);
    double n = (double)((bits >> 52) - 1023), m;
    bits = (bits & 0xfffffffffffffLL) | 0x3ff0000000000000LL;
    memcpy(&m, &bits, 8);
    if (m > 1.4142135623730951) m /= 2, n += 1;
    double z = (m - 1) / (m + 1), square = z * z, sum = 0;
    for (int k = 19; k > 0; k -= 2) sum = sum * square + 1.0 / k;
    return n * 0.6931471805599453 + 2 * z * sum;
}

/* f(z) */
INLINE vec activated(int32_t kind, float slope, vec z) {
    switch (kind) {
    case RELU: return rectified(z);
    case LEAKY_RELU: return choice(z > 0, z, z * slope);
    case SIGMOID: return 1.0f / (1.0f + exponential(-z));
    case TANH: return hyperbolic_tangent(z);
    default: return z;
    }
}

/* f'(z) d, by y = f(z) */
INLINE vec passed_back(int32_t kind, float slope, vec y, vec d) {
    switch (kind) {
    case RELU: return where(y > 0, d);
    case LEAKY_RELU: return choice(y > 0, d, d * slope);
    case SIGMOID: return (y - y * y) * d;
    case TANH: return (1.0f - y * y) * d;
    default: return d;
    }
}

#endif

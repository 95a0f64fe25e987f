// Sixteen floats at a time, and the functions of numbers that training needs.
//
// Every sum has its order written out, every fused product is asked for by name, and exp and log are these and not a
// system's: so the bits do not depend on the machine's vectors, and the compiler is told to contract nothing.
#pragma once

#include <stddef.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef float v16 __attribute__((vector_size(64)));
typedef int i16 __attribute__((vector_size(64)));
typedef double d16 __attribute__((vector_size(128)));

constexpr long LANES = 16;

INLINE long rounded_up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }

INLINE v16 load(const float* p) {
    v16 x;
    memcpy(&x, p, sizeof x);
    return x;
}

INLINE void store(float* p, v16 x) { memcpy(p, &x, sizeof x); }

// The first n <= 16 floats, zeros behind them.
INLINE v16 load_part(const float* p, long n) {
    if (n >= LANES) return load(p);
    float some[LANES] = {};
    for (long i = 0; i < n; i++) some[i] = p[i];
    return load(some);
}

INLINE void store_part(float* p, v16 x, long n) {
    if (n >= LANES) return store(p, x);
    float some[LANES];
    store(some, x);
    for (long i = 0; i < n; i++) p[i] = some[i];
}

INLINE v16 all(float x) { return v16{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE v16 fma(v16 a, v16 b, v16 c) { return __builtin_elementwise_fma(a, b, c); }
INLINE v16 larger(v16 a, v16 b) { return a > b ? a : b; }  // b if there is a NaN
INLINE v16 smaller(v16 a, v16 b) { return a < b ? a : b; }

// Halves onto each other: the order of additions is the same everywhere.
template <typename Vector, typename Scalar>
INLINE Scalar sum_of_lanes(Vector x) {
    Scalar s[LANES];
    memcpy(s, &x, sizeof x);
    for (long half = LANES / 2; half; half /= 2)
        for (long i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}

INLINE float sum(v16 x) { return sum_of_lanes<v16, float>(x); }
INLINE double sum(d16 x) { return sum_of_lanes<d16, double>(x); }

INLINE float largest(const float* x, long n) {
    v16 lanes = all(x[0]);
    long i = 0;
    for (; i + LANES <= n; i += LANES) lanes = larger(load(x + i), lanes);
    float some[LANES], found = x[0];
    store(some, lanes);
    for (long lane = 0; lane < LANES; lane++) found = some[lane] > found ? some[lane] : found;
    for (; i < n; i++) found = x[i] > found ? x[i] : found;
    return found;
}

// e^x to 2 units in the last place, 0 below -87: 2^n times a Taylor polynomial on [-ln 2 / 2, ln 2 / 2].
INLINE v16 exp(v16 x) {
    const v16 inside = smaller(all(88.0f), larger(all(-87.0f), x));
    const v16 n = __builtin_elementwise_rint(inside * 1.44269504f);
    const v16 r = fma(n, all(-1.42860677e-6f), fma(n, all(-0.693145752f), inside));
    v16 p = all(1.0f / 5040.0f);
    p = fma(p, r, all(1.0f / 720.0f));
    p = fma(p, r, all(1.0f / 120.0f));
    p = fma(p, r, all(1.0f / 24.0f));
    p = fma(p, r, all(1.0f / 6.0f));
    p = fma(p, r, all(0.5f));
    p = fma(p, r, all(1.0f));
    p = fma(p, r, all(1.0f));
    const i16 power = (__builtin_convertvector(n, i16) + 127) << 23;
    v16 scale;
    memcpy(&scale, &power, sizeof scale);
    return x < -87.0f ? v16{} : p * scale;
}

// ln x for a positive normal number: the exponent, and 2 artanh((m - 1) / (m + 1)) of the mantissa m in [0.7, 1.4].
INLINE double log(double x) {
    long bits;
    memcpy(&bits, &x, sizeof x);
    long exponent = (bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffL) | (1023L << 52);
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        exponent += 1;
    }
    const double t = (m - 1.0) / (m + 1.0), square = t * t;
    double series = 0.0;
    for (int odd = 19; odd > 0; odd -= 2) series = series * square + 1.0 / odd;
    return (double)exponent * 0.69314718055994531 + 2.0 * t * series;
}

// e^x for a moderate x: the series of x / 2^10, squared ten times.
INLINE double exp(double x) {
    x /= 1024.0;
    double p = 1.0;
    for (int i = 10; i > 0; i--) p = 1.0 + p * x / i;
    for (int i = 0; i < 10; i++) p *= p;
    return p;
}

// sin and cos of an angle of at most some thousand radians.
INLINE void sin_cos(double angle, double* sine, double* cosine) {
    const double turns = __builtin_rint(angle * 0.15915494309189535);
    const double x = (angle - turns * 6.2831853071795862) - turns * 2.4492935982947064e-16, square = x * x;
    double s = 1.0, c = 1.0;
    for (int i = 24; i > 0; i -= 2) {
        s = 1.0 - s * square / (double)(i * (i + 1));
        c = 1.0 - c * square / (double)(i * (i - 1));
    }
    *sine = x * s;
    *cosine = c;
}

// sum of a[i] * b[i] over n
INLINE float dot(const float* a, const float* b, long n) {
    v16 s{};
    for (long i = 0; i < n; i += LANES) s = fma(load_part(a + i, n - i), load_part(b + i, n - i), s);
    return sum(s);
}

// x (n) += more (n)
INLINE void add(float* x, const float* more, long n) {
    for (long i = 0; i < n; i += LANES) store_part(x + i, load_part(x + i, n - i) + load_part(more + i, n - i), n - i);
}

// Products of matrices, all of them contiguous, row after row.
//
// An element of a product is one chain of fused multiply-adds over the inner dimension, from its first to its last:
// neither the other rows, nor the size of tiles, nor the width of the machine's vectors changes its bits.
#pragma once

#include "vectors.hpp"

// The tile of the product that is kept in registers: ROWS x VECTORS of sixteen floats, of 32 registers of sixteen
// or of 16 registers of eight.
constexpr long ROWS = 6;
#ifdef __AVX512F__
constexpr long VECTORS = 4;
#else
constexpr long VECTORS = 1;
#endif
constexpr long WIDTH = 4 * LANES;  // columns of the right matrix that are packed together,
constexpr long DEPTH = 128;        // and rows: 32 KB, the innermost cache

// An operand: (i, j) lies at data[i * stride + j], or at data[j * stride + i] if it is transposed.
struct Operand {
    const float* data;
    long stride;
    bool transposed;

    Operand at(long i, long j) const {
        return {data + (transposed ? j * stride + i : i * stride + j), stride, transposed};
    }
};

// c (R, V * 16, its last `part` columns of a vector only) = or += a (R, k) b (k, V * 16)
template <long R, long V, bool TRANSPOSED>
static void tile(const float* __restrict a, long a_stride, const float* __restrict b, float* __restrict c,
                 long c_stride, long k, long part, bool add) {
    v16 sums[R][V];
    for (long r = 0; r < R; r++)
        for (long v = 0; v < V; v++) {
            const float* from = c + r * c_stride + v * LANES;
            sums[r][v] = !add ? v16{} : v < V - 1 ? load(from) : load_part(from, part);
        }
    const bool far = TRANSPOSED && a_stride >= 512;  // rows so far apart that nothing fetches them ahead
    for (long i = 0; i < k; i++) {
        if (far) __builtin_prefetch(a + (i + 16) * a_stride);
        v16 right[V];
        for (long v = 0; v < V; v++) right[v] = load(b + i * WIDTH + v * LANES);
        for (long r = 0; r < R; r++) {
            const v16 left = all(TRANSPOSED ? a[i * a_stride + r] : a[r * a_stride + i]);
            for (long v = 0; v < V; v++) sums[r][v] = fma(left, right[v], sums[r][v]);
        }
    }
    for (long r = 0; r < R; r++)
        for (long v = 0; v < V; v++) {
            float* to = c + r * c_stride + v * LANES;
            if (v < V - 1)
                store(to, sums[r][v]);
            else
                store_part(to, sums[r][v], part);
        }
}

// c (R, n) = or += a (R, k) b (k, n)
template <long R, bool TRANSPOSED>
static void row_of_tiles(Operand a, const float* b, float* c, long c_stride, long n, long k, bool add) {
    for (long j = 0; j < n; j += VECTORS * LANES) {
        const long left = n - j, vectors = left < VECTORS * LANES ? rounded_up(left, LANES) / LANES : VECTORS;
        const long part = left < vectors * LANES ? left - (vectors - 1) * LANES : LANES;
        if (vectors == 1) tile<R, 1, TRANSPOSED>(a.data, a.stride, b + j, c + j, c_stride, k, part, add);
#ifdef __AVX512F__
        if (vectors == 2) tile<R, 2, TRANSPOSED>(a.data, a.stride, b + j, c + j, c_stride, k, part, add);
        if (vectors == 3) tile<R, 3, TRANSPOSED>(a.data, a.stride, b + j, c + j, c_stride, k, part, add);
        if (vectors == 4) tile<R, 4, TRANSPOSED>(a.data, a.stride, b + j, c + j, c_stride, k, part, add);
#endif
    }
}

// c (m, n) = or += a (m, k) b (k, n)
template <bool TRANSPOSED>
static void all_tiles(Operand a, const float* b, float* c, long c_stride, long m, long n, long k, bool add) {
    long i = 0;
    for (; i + ROWS <= m; i += ROWS)
        row_of_tiles<ROWS, TRANSPOSED>(a.at(i, 0), b, c + i * c_stride, c_stride, n, k, add);
    for (; i + 2 <= m; i += 2) row_of_tiles<2, TRANSPOSED>(a.at(i, 0), b, c + i * c_stride, c_stride, n, k, add);
    if (i < m) row_of_tiles<1, TRANSPOSED>(a.at(i, 0), b, c + i * c_stride, c_stride, n, k, add);
}

// to (16, 16; a row every WIDTH floats) = from (n, k; the first 16 of each)^T, zeros where there is nothing
static void transpose(const float* from, long stride, float* to, long n, long k) {
    v16 x[LANES], y[LANES];
    for (long i = 0; i < LANES; i++) x[i] = i < n ? load_part(from + i * stride, k) : v16{};
    for (int round = 0; round < 4; round++) {
        for (long i = 0; i < LANES / 2; i++) {
            const v16 a = x[i], b = x[i + LANES / 2];
            y[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            y[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(x, y, sizeof x);
    }
    for (long i = 0; i < LANES && i < k; i++) store(to + i * WIDTH, x[i]);
}

// panel (k, WIDTH) = b (k, n), zeros behind n up to whole vectors
static void pack(Operand b, float* panel, long n, long k) {
    if (b.transposed) {
        for (long j = 0; j < n; j += LANES)
            for (long i = 0; i < k; i += LANES)
                transpose(b.at(i, j).data, b.stride, panel + i * WIDTH + j, n - j, k - i);
    } else {
        for (long i = 0; i < k; i++)
            for (long j = 0; j < n; j += LANES) store(panel + i * WIDTH + j, load_part(b.at(i, j).data, n - j));
    }
}

// c (m, n) = or += a (m, k) b (k, n)
static void multiply(Operand a, Operand b, float* c, long m, long n, long k, bool add) {
    alignas(64) float panel[DEPTH * WIDTH];
    for (long j = 0; j < n; j += WIDTH)
        for (long i = 0; i < k; i += DEPTH) {
            const long width = n - j < WIDTH ? n - j : WIDTH, depth = k - i < DEPTH ? k - i : DEPTH;
            pack(b.at(i, j), panel, width, depth);
            if (a.transposed)
                all_tiles<true>(a.at(0, i), panel, c + j, n, m, width, depth, add || i > 0);
            else
                all_tiles<false>(a.at(0, i), panel, c + j, n, m, width, depth, add || i > 0);
        }
}

// y (m, n) = x (m, k) w (n, k)^T; with `add` y (m, n) += ...
static void linear(const float* x, const float* w, float* y, long m, long n, long k, bool add = false) {
    multiply({x, k, false}, {w, k, true}, y, m, n, k, add);
}

// dx (m, k) = dy (m, n) w (n, k)
static void linear_dx(const float* dy, const float* w, float* dx, long m, long n, long k) {
    multiply({dy, n, false}, {w, k, false}, dx, m, k, n, false);
}

// dw (n, k) = dy (m, n)^T x (m, k)
static void linear_dw(const float* dy, const float* x, float* dw, long m, long n, long k) {
    multiply({dy, n, true}, {x, k, false}, dw, n, k, m, false);
}

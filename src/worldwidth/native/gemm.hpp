// Products of matrices, all of them contiguous, row after row.
//
// An element of a product is one chain of fused multiply-adds over the inner dimension, from its first to its last:
// neither the other rows, nor the size of tiles, nor the width of the machine's vectors changes its bits.
#pragma once

// y (m, n) = x (m, k) w (n, k)^T; with `add` y (m, n) += ...
void linear(const float* x, const float* w, float* y, long m, long n, long k, bool add = false);

// dx (m, k) = dy (m, n) w (n, k); with `add` dx (m, k) += ...
void linear_dx(const float* dy, const float* w, float* dx, long m, long n, long k, bool add = false);

// dw (n, k) = dy (m, n)^T x (m, k)
void linear_dw(const float* dy, const float* x, float* dw, long m, long n, long k);

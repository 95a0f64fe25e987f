// From the gradients of a batch's parts to new weights: their sum, AdamW and Muon, each on any piece of the flat
// arrays.
#pragma once

#include "gemm.hpp"
#include "model.hpp"

static double sum_of_squares(const float* x, long n) {
    d16 squares{};
    for (long i = 0; i < n; i += LANES) {
        const d16 wide = __builtin_convertvector(load_part(x + i, n - i), d16);
        squares += wide * wide;
    }
    return sum(squares);
}

// Add the gradients of all parts onto the first, in their order, from element `begin` to `end`; return the sum of the
// squares.
EXPORTED double add_parts(float* const* parts, long count, long begin, long end) {
    float* total = parts[0];
    for (long part = 1; part < count; part++) {
        const float* more = parts[part];
        for (long i = begin; i < end; i++) total[i] += more[i];
    }
    return sum_of_squares(total + begin, end - begin);
}

// AdamW (arXiv 1711.05101) on n weights, as torch.optim.AdamW; `clip` multiplies the gradient.
EXPORTED void adamw(float* __restrict weights, float* __restrict first, float* __restrict second,
                    const float* __restrict gradient, long n, float clip, long step, double rate, double beta1,
                    double beta2, double epsilon, double weight_decay) {
    double left1 = 1.0, left2 = 1.0;  // beta^step, by repeated squaring
    for (double power1 = beta1, power2 = beta2; step; step >>= 1, power1 *= power1, power2 *= power2)
        if (step & 1) {
            left1 *= power1;
            left2 *= power2;
        }
    const float size = (float)(rate / (1.0 - left1)), correction = (float)__builtin_sqrt(1.0 - left2);
    const float keep = (float)(1.0 - rate * weight_decay), new1 = (float)(1.0 - beta1), new2 = (float)(1.0 - beta2);
    const float old2 = (float)beta2, small = (float)epsilon;
    for (long i = 0; i < n; i++) {
        const float g = gradient[i] * clip;
        first[i] += (g - first[i]) * new1;
        second[i] = second[i] * old2 + g * g * new2;
        weights[i] = weights[i] * keep - size * first[i] / (__builtin_sqrtf(second[i]) / correction + small);
    }
}

static long smaller_side(long rows, long columns) { return rows < columns ? rows : columns; }

// What `orthogonalize` works in.
struct NewtonSchulz {
    float *x, *next;                     // (rows, columns)
    float *gram, *step, *steps, *spare;  // (side, side), the smaller of both

    NewtonSchulz(long rows, long columns, Memory& memory) {
        const long side = smaller_side(rows, columns);
        x = memory.floats(rows * columns);
        next = memory.floats(rows * columns);
        gram = memory.floats(side * side);
        step = memory.floats(side * side);
        steps = memory.floats(side * side);
        spare = memory.floats(side * side);
    }
};

static void swap(float*& a, float*& b) {
    float* const other = a;
    a = b;
    b = other;
}

// Five steps x = (a + b g + c g^2) x with g = x x^T, or x = x (a + b g + c g^2) with g = x^T x, whichever is smaller,
// take w.x near its orthogonal factor: https://kellerjordan.github.io/posts/muon/
//
// The steps are polynomials of the first g, so that g and their product are kept instead of x, the long matrix: half
// the work. What that loses of small singular values grows twelvefold a step, so that x is made anew after two.
static void orthogonalize(NewtonSchulz& w, long rows, long columns) {
    const long side = smaller_side(rows, columns);
    const int stretches[] = {2, 3};
    for (const int rounds : stretches) {
        if (rows > columns)
            linear_dw(w.x, w.x, w.gram, rows, columns, columns);
        else
            linear(w.x, w.x, w.gram, rows, rows, columns);
        for (int round = 0; round < rounds; round++) {
            linear_dx(w.gram, w.gram, w.step, side, side, side);
            for (long i = 0; i < side * side; i++) w.step[i] = 2.0315f * w.step[i] - 4.775f * w.gram[i];
            for (long i = 0; i < side; i++) w.step[i * side + i] += 3.4445f;
            if (round == 0) {
                memcpy(w.steps, w.step, side * side * sizeof(float));
            } else {
                linear_dx(w.step, w.steps, w.spare, side, side, side);
                swap(w.steps, w.spare);
            }
            if (round < rounds - 1) {
                linear_dx(w.step, w.gram, w.spare, side, side, side);
                linear_dx(w.spare, w.step, w.gram, side, side, side);
            }
        }
        if (rows > columns)
            linear_dx(w.x, w.steps, w.next, rows, columns, columns);
        else
            linear_dx(w.steps, w.x, w.next, rows, rows, columns);
        swap(w.x, w.next);
    }
}

EXPORTED long muon_floats(long rows, long columns) {
    Memory memory(nullptr);
    NewtonSchulz(rows, columns, memory);
    return memory.used();
}

// Muon on `count` matrices (rows, columns), as torch.optim.Muon with Nesterov momentum, in float32; `clip` multiplies
// the gradient.
EXPORTED void muon(float* weights, float* momentum, const float* gradient, long count, long rows, long columns,
                   float clip, double rate, double weight_decay, float* array) {
    const long n = rows * columns;
    const double ratio = (double)rows / (double)columns;
    const float size = (float)(rate * __builtin_sqrt(ratio > 1.0 ? ratio : 1.0));
    const float keep = (float)(1.0 - rate * weight_decay), beta = 0.95f, fresh = (float)(1.0 - 0.95);
    Memory memory(array);
    NewtonSchulz work(rows, columns, memory);
    for (long k = 0; k < count; k++, weights += n, momentum += n, gradient += n) {
        for (long i = 0; i < n; i++) {
            const float g = gradient[i] * clip;
            momentum[i] += (g - momentum[i]) * fresh;
            work.x[i] = g + (momentum[i] - g) * beta;
        }
        const float norm = (float)__builtin_sqrt(sum_of_squares(work.x, n)), divisor = norm > 1e-7f ? norm : 1e-7f;
        for (long i = 0; i < n; i++) work.x[i] /= divisor;
        orthogonalize(work, rows, columns);
        for (long i = 0; i < n; i++) weights[i] = weights[i] * keep - size * work.x[i];
    }
}

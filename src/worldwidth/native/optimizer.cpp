// From the gradients of a batch's parts to new weights: their sum, AdamW and Muon, each on any piece of the flat arrays.
#include "gemm.hpp"
#include "model.hpp"

// Add the gradients of all parts onto the first, in their order, from element `begin` to `end`; return the sum of the
// squares.
EXPORTED double add_parts(float* const* parts, long count, long begin, long end) {
    float* total = parts[0];
    for (long part = 1; part < count; part++) {
        const float* more = parts[part];
        for (long i = begin; i < end; i++) total[i] += more[i];
    }
    d16 squares{};
    for (long i = begin; i < end; i += LANES) {
        const d16 x = __builtin_convertvector(load_part(total + i, end - i), d16);
        squares += x * x;
    }
    return sum(squares);
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

// to (columns, rows) = from (rows, columns)^T
static void transposed(const float* from, float* to, long rows, long columns) {
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
}

EXPORTED long muon_floats(long rows, long columns) {
    const long side = smaller_side(rows, columns);
    return 3 * rounded_up(rows * columns, LANES) + 2 * rounded_up(side * side, LANES);
}

// Muon on `count` matrices (rows, columns), as torch.optim.Muon with Nesterov momentum, in float32; `clip` multiplies
// the gradient. Five Newton-Schulz steps take the update near its orthogonal factor:
// https://kellerjordan.github.io/posts/muon/
EXPORTED void muon(float* weights, float* momentum, const float* gradient, long count, long rows, long columns,
                     float clip, double rate, double weight_decay, float* array) {
    const long n = rows * columns, side = smaller_side(rows, columns), length = n / side;
    Memory memory(array);
    float *update = memory.floats(n), *x = memory.floats(n), *next = memory.floats(n);
    float *gram = memory.floats(side * side), *polynomial = memory.floats(side * side);
    const double ratio = (double)rows / (double)columns;
    const float size = (float)(rate * __builtin_sqrt(ratio > 1.0 ? ratio : 1.0));
    const float keep = (float)(1.0 - rate * weight_decay), beta = 0.95f, fresh = (float)(1.0 - 0.95);
    for (long k = 0; k < count; k++, weights += n, momentum += n, gradient += n) {
        for (long i = 0; i < n; i++) {
            const float g = gradient[i] * clip;
            momentum[i] += (g - momentum[i]) * fresh;
            update[i] = g + (momentum[i] - g) * beta;
        }
        d16 squares{};
        for (long i = 0; i < n; i += LANES) {
            const d16 u = __builtin_convertvector(load_part(update + i, n - i), d16);
            squares += u * u;
        }
        const float norm = (float)__builtin_sqrt(sum(squares)), shrink = norm > 1e-7f ? norm : 1e-7f;
        for (long i = 0; i < n; i++) update[i] /= shrink;
        if (rows > columns)
            transposed(update, x, rows, columns);
        else
            memcpy(x, update, n * sizeof(float));
        for (int round = 0; round < 5; round++) {  // x = a x + (b x x^T + c (x x^T)^2) x
            linear(x, x, gram, side, side, length);
            linear(gram, gram, polynomial, side, side, side);
            for (long i = 0; i < side * side; i++) polynomial[i] = -4.775f * gram[i] + 2.0315f * polynomial[i];
            linear_dx(polynomial, x, next, side, side, length);
            for (long i = 0; i < n; i++) x[i] = 3.4445f * x[i] + next[i];
        }
        const float* orthogonal = x;
        if (rows > columns) {
            transposed(x, update, columns, rows);
            orthogonal = update;
        }
        for (long i = 0; i < n; i++) weights[i] = weights[i] * keep - size * orthogonal[i];
    }
}

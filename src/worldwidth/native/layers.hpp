// The parts of a decoder layer beside attention, and a whole layer forward; its backward pass is in step.hpp.
#pragma once

#include "attention.hpp"
#include "gemm.hpp"

// y (rows, d) = x / rms(x) * w, and inverse (rows) = 1 / rms(x): arXiv 1910.07467
static void rms_norm(const float* x, const float* w, float* y, float* inverse, long rows, long d, double epsilon) {
    for (long r = 0; r < rows; r++, x += d, y += d) {
        const float i = 1.0f / __builtin_sqrtf(dot(x, x, d) / (float)d + (float)epsilon);
        for (long c = 0; c < d; c += LANES)
            store_part(y + c, load_part(x + c, d - c) * i * load_part(w + c, d - c), d - c);
        inverse[r] = i;
    }
}

// dx (rows, d) += and dw (d) +=, from dy (rows, d)
static void rms_norm_backward(const float* dy, const float* x, const float* w, const float* inverse, float* dx,
                              float* dw, long rows, long d) {
    for (long r = 0; r < rows; r++, dy += d, x += d, dx += d) {
        const float i = inverse[r];
        v16 along{};
        for (long c = 0; c < d; c += LANES) {
            const long n = d - c;
            along = fma(load_part(dy + c, n) * load_part(w + c, n), load_part(x + c, n), along);
        }
        const float common = sum(along) * i * i * i / (float)d;
        for (long c = 0; c < d; c += LANES) {
            const long n = d - c;
            const v16 g = load_part(dy + c, n), own = load_part(x + c, n);
            store_part(dw + c, load_part(dw + c, n) + g * own * i, n);
            store_part(dx + c, load_part(dx + c, n) + (g * load_part(w + c, n) * i - own * common), n);
        }
    }
}

INLINE v16 sigmoid(v16 x) { return 1.0f / (1.0f + exp(-x)); }

// a (rows, inner) = silu(gate) * up, of gate_up (rows, 2 inner): arXiv 2002.05202
static void swiglu(const float* gate_up, float* a, long rows, long inner) {
    for (long r = 0; r < rows; r++, gate_up += 2 * inner, a += inner)
        for (long c = 0; c < inner; c += LANES) {
            const v16 gate = load_part(gate_up + c, inner - c), up = load_part(gate_up + inner + c, inner - c);
            store_part(a + c, gate * sigmoid(gate) * up, inner - c);
        }
}

// dgate_up (rows, 2 inner) from da (rows, inner)
static void swiglu_backward(const float* gate_up, const float* da, float* dgate_up, long rows, long inner) {
    for (long r = 0; r < rows; r++, gate_up += 2 * inner, dgate_up += 2 * inner, da += inner)
        for (long c = 0; c < inner; c += LANES) {
            const long n = inner - c;
            const v16 gate = load_part(gate_up + c, n), up = load_part(gate_up + inner + c, n),
                      d = load_part(da + c, n);
            const v16 s = sigmoid(gate), silu = gate * s;
            store_part(dgate_up + c, d * up * (s + silu * (1.0f - s)), n);
            store_part(dgate_up + inner + c, d * silu, n);
        }
}

// The angles of rotary embeddings (arXiv 2104.09864): cos and sin of position * theta^(-2 c / head) for each pair c.
static void rotations(float* table, long positions, long head, double theta) {
    for (long c = 0; c < head / 2; c++) {
        const float frequency = (float)exp(-log(theta) * (double)(2 * c) / (double)head);
        for (long p = 0; p < positions; p++) {
            double sine, cosine;
            sin_cos((double)((float)p * frequency), &sine, &cosine);
            table[p * head + 2 * c] = (float)cosine;
            table[p * head + 2 * c + 1] = (float)sine;
        }
    }
}

// Turn each pair of the first d channels of x (count, n) by its angle, or back.
static void rotate(const Sizes& sizes, float* x, long count, long n, const int* positions, const float* table,
                   bool back) {
    const long d = sizes.hidden, head = sizes.head();
    const float sign = back ? -1.0f : 1.0f;
    for (long r = 0; r < count; r++, x += n) {
        const float* angles = table + positions[r] * head;
        for (long h = 0; h < d; h += head)
            for (long c = 0; c < head; c += 2) {
                float* pair = x + h + c;
                const float real = pair[0], imaginary = pair[1], cosine = angles[c], sine = sign * angles[c + 1];
                pair[0] = real * cosine - imaginary * sine;
                pair[1] = real * sine + imaginary * cosine;
            }
    }
}

// to (rows, d) = the rows of `from` that `rows` names
static void gather_rows(const float* from, Rows rows, long d, float* to) {
    for (long r = 0; r < rows.count; r++) memcpy(to + r * d, from + rows.node(r) * d, d * sizeof(float));
}

// x (count, d) += at the rows that `rows` names
static void add_to_rows(const float* from, Rows rows, long d, float* x) {
    for (long r = 0; r < rows.count; r++) add(x + rows.node(r) * d, from + r * d, d);
}

// y (count, n) = x (count, d) w (n, d)^T + bias (n), the first d columns turned by their positions: q, or k and v.
static void project(const Sizes& sizes, const float* w, const float* bias, const float* x, float* y, long count, long n,
                    const int* positions, const float* table) {
    for (long r = 0; r < count; r++) memcpy(y + r * n, bias, n * sizeof(float));
    linear(x, w, y, count, n, sizes.hidden, true);
    rotate(sizes, y, count, n, positions, table, false);
}

// What a layer computes for a tree; backward needs all of it. Rows are those for which more than keys and values is
// computed: all nodes, in the last layer only those that predict.
struct Activations {
    float *x, *normed, *inverse;       // (count, d), (count, d), (count): the residual stream before the layer
    float* kv;                         // (count, 2 d)
    float *row_normed, *q, *attended;  // (rows, d)
    int* row_positions;                // (rows)
    float* probabilities;              // see attention.hpp
    float *middle, *middle_normed, *middle_inverse;  // (rows, d), (rows, d), (rows): the stream between the halves
    float *gate_up, *a;                              // (rows, 2 inner), (rows, inner)
    float* out;                                      // (rows, d): the stream behind the layer

    Activations(const Sizes& sizes, const Tree& tree, Rows rows, Memory& memory) {
        const long d = sizes.hidden, n = rows.count;
        x = nullptr;
        normed = memory.floats(tree.count * d);
        inverse = memory.floats(tree.count);
        kv = memory.floats(tree.count * 2 * d);
        row_normed = rows.nodes ? memory.floats(n * d) : normed;
        row_positions = rows.nodes ? memory.ints(n) : const_cast<int*>(tree.positions);
        q = memory.floats(n * d);
        attended = memory.floats(n * d);
        probabilities = memory.floats(probability_floats(tree, sizes.heads));
        middle = memory.floats(n * d);
        middle_normed = memory.floats(n * d);
        middle_inverse = memory.floats(n);
        gate_up = memory.floats(n * 2 * sizes.inner);
        a = memory.floats(n * sizes.inner);
        out = memory.floats(n * d);
    }
};

// The second half of a layer, from `attended` and the residual stream in `middle` to `out`.
static void mlp_forward(const Sizes& sizes, const Layer& weights, long rows, Activations& s) {
    const long d = sizes.hidden, inner = sizes.inner;
    linear(s.attended, weights.o, s.middle, rows, d, d, true);
    rms_norm(s.middle, weights.post_norm, s.middle_normed, s.middle_inverse, rows, d, sizes.epsilon);
    linear(s.middle_normed, weights.gate_up, s.gate_up, rows, 2 * inner, d);
    swiglu(s.gate_up, s.a, rows, inner);
    memcpy(s.out, s.middle, rows * d * sizeof(float));
    linear(s.a, weights.down, s.out, rows, d, inner, true);
}

// Fill `activations` from x: one layer for the nodes of a tree.
static void layer_forward(const Sizes& sizes, const Layer& weights, const Tree& tree, Rows rows, const float* table,
                          Activations& s, Memory memory) {
    const long d = sizes.hidden;
    rms_norm(s.x, weights.input_norm, s.normed, s.inverse, tree.count, d, sizes.epsilon);
    project(sizes, weights.qkv + d * d, weights.qkv_bias + d, s.normed, s.kv, tree.count, 2 * d, tree.positions, table);
    if (rows.nodes) {
        gather_rows(s.normed, rows, d, s.row_normed);
        for (long r = 0; r < rows.count; r++) s.row_positions[r] = tree.positions[rows.node(r)];
    }
    project(sizes, weights.qkv, weights.qkv_bias, s.row_normed, s.q, rows.count, d, s.row_positions, table);
    attention(tree, rows, sizes.heads, sizes.head(), s.q, s.kv, s.attended, s.probabilities, memory);
    gather_rows(s.x, rows, d, s.middle);
    mlp_forward(sizes, weights, rows.count, s);
}

// The loss of a tree of lines and its gradient: forward, then backward, of the whole decoder.
#pragma once

#include "layers.hpp"

// The rows of a layer: the last one computes more than keys and values only where something is predicted.
static Rows rows_of(const Sizes& sizes, const Tree& tree, long layer) {
    return layer == sizes.layers - 1 ? Rows{tree.queries, tree.predicting} : Rows{nullptr, tree.count};
}

static void zero(float* x, long n) { memset(x, 0, n * sizeof(float)); }

// logits (predicting, vocabulary) -> the sum of -ln p of all predictions. With `scale` the logits become its gradient
// times that.
static double cross_entropy(const Tree& tree, float* logits, long vocabulary, float scale, float* counted,
                            float* logs) {
    zero(counted, tree.predicting);
    for (long i = 0; i < tree.predictions; i++) counted[tree.sources[i]] += 1.0f;
    double loss = 0.0;
    for (long i = 0; i < tree.predictions; i++) loss -= logits[tree.sources[i] * vocabulary + tree.targets[i]];
    for (long row = 0; row < tree.predicting; row++) {
        float* z = logits + row * vocabulary;
        const float top = largest(z, vocabulary);
        v16 total{};
        for (long i = 0; i < vocabulary; i += LANES) {
            const long n = vocabulary - i;
            const v16 e = exp(load_part(z + i, n) - top);
            store_part(z + i, e, n);
            total += n < LANES ? load_part(z + i, n) : e;
        }
        const float whole = sum(total);
        logs[row] = (float)(top + log((double)whole));
        const float factor = counted[row] * scale / whole;
        for (long i = 0; i < vocabulary; i++) z[i] *= factor;
    }
    for (long i = 0; i < tree.predictions; i++) {
        loss += logs[tree.sources[i]];
        logits[tree.sources[i] * vocabulary + tree.targets[i]] -= scale;
    }
    return loss;
}

// What the backward pass works in, beside the activations.
struct Gradients {
    float *dx, *dmiddle;     // (count, d), (rows, d): of the residual stream
    float *dnormed, *drows;  // (count, d), (rows, d)
    float *dkv, *dq;         // (count, 2 d), (rows, d)
    float *da, *dgate_up;    // (rows, inner), (rows, 2 inner)

    Gradients(const Sizes& sizes, const Tree& tree, Memory& memory) {
        const long d = sizes.hidden, n = tree.count;
        dx = memory.floats(n * d);
        dmiddle = memory.floats(n * d);
        dnormed = memory.floats(n * d);
        drows = memory.floats(n * d);
        dkv = memory.floats(n * 2 * d);
        dq = memory.floats(n * d);
        da = memory.floats(n * sizes.inner);
        dgate_up = memory.floats(n * 2 * sizes.inner);
    }
};

// bias (n) = sum over rows of dy (rows, n)
static void sum_rows(const float* dy, float* bias, long rows, long n) {
    zero(bias, n);
    for (long r = 0; r < rows; r++) add(bias, dy + r * n, n);
}

// From dmiddle, the gradient of a layer's output, to dx, that of its input; writes the gradient of its weights, of the
// matrices only with `matrices`.
static void layer_backward(const Sizes& sizes, const Layer& weights, const Layer& gradient, const Tree& tree, Rows rows,
                           const float* table, const Activations& s, Gradients& g, bool matrices, Memory memory) {
    const long d = sizes.hidden, inner = sizes.inner, n = tree.count, m = rows.count;
    if (matrices) linear_dw(g.dmiddle, s.a, gradient.down, m, d, inner);
    linear_dx(g.dmiddle, weights.down, g.da, m, d, inner);
    swiglu_backward(s.gate_up, g.da, g.dgate_up, m, inner);
    if (matrices) linear_dw(g.dgate_up, s.middle_normed, gradient.gate_up, m, 2 * inner, d);
    linear_dx(g.dgate_up, weights.gate_up, g.drows, m, 2 * inner, d);
    zero(gradient.post_norm, d);
    rms_norm_backward(g.drows, s.middle, weights.post_norm, s.middle_inverse, g.dmiddle, gradient.post_norm, m, d);

    if (matrices) linear_dw(g.dmiddle, s.attended, gradient.o, m, d, d);
    linear_dx(g.dmiddle, weights.o, g.drows, m, d, d);
    zero(g.dkv, n * 2 * d);
    attention_backward(tree, rows, sizes.heads, sizes.head(), s.q, s.kv, s.probabilities, g.drows, g.dq, g.dkv, memory);
    rotate(sizes, g.dq, m, d, s.row_positions, table, true);
    rotate(sizes, g.dkv, n, 2 * d, tree.positions, table, true);
    sum_rows(g.dq, gradient.qkv_bias, m, d);
    sum_rows(g.dkv, gradient.qkv_bias + d, n, 2 * d);
    if (matrices) linear_dw(g.dq, s.row_normed, gradient.qkv, m, d, d);
    if (matrices) linear_dw(g.dkv, s.normed, gradient.qkv + d * d, n, 2 * d, d);
    linear_dx(g.dkv, weights.qkv + d * d, g.dnormed, n, 2 * d, d);
    linear_dx(g.dq, weights.qkv, g.drows, m, d, d);
    add_to_rows(g.drows, rows, d, g.dnormed);

    zero(g.dx, n * d);
    add_to_rows(g.dmiddle, rows, d, g.dx);
    zero(gradient.input_norm, d);
    rms_norm_backward(g.dnormed, s.x, weights.input_norm, s.inverse, g.dx, gradient.input_norm, n, d);
}

// The loss (and gradient, if not null) of a tree; returns the sum of its losses times `scale`. Without `matrices` the
// gradient is that of the embedding, with the same bits, and of the vectors: all other matrices' is not written, a third
// of the work. Without `array` nothing is computed and `floats` becomes what it must hold.
static double loss_and_gradient(const Sizes& sizes, float* flat_weights, float* flat_gradient, const Tree& tree,
                                float scale, bool matrices, float* array, long* floats) {
    const long d = sizes.hidden, n = tree.count, m = tree.predicting, last = sizes.layers - 1;
    Memory memory(array);
    float* table = memory.floats(tree.longest * sizes.head());
    float* embedded = memory.floats(n * d);
    Activations* layers = memory.things<Activations>(sizes.layers);
    for (long l = 0; l <= last; l++) {
        const Activations here(sizes, tree, rows_of(sizes, tree, l), memory);
        if (array) memcpy(layers + l, &here, sizeof here);
    }
    float *normed = memory.floats(m * d), *inverse = memory.floats(m), *dnormed = memory.floats(m * d);
    float *logits = memory.floats(m * sizes.vocabulary), *counted = memory.floats(m), *logs = memory.floats(m);
    Gradients g(sizes, tree, memory);
    const Memory rest = memory;
    *floats = memory.used() + attention_floats(tree);
    if (!array) return 0.0;

    const Weights weights(sizes, flat_weights), gradient(sizes, flat_gradient);
    rotations(table, tree.longest, sizes.head(), sizes.theta);
    for (long i = 0; i < n; i++) memcpy(embedded + i * d, weights.embed + tree.ids[i] * d, d * sizeof(float));
    for (long l = 0; l <= last; l++) {
        layers[l].x = l ? layers[l - 1].out : embedded;
        layer_forward(sizes, weights.layer(l), tree, rows_of(sizes, tree, l), table, layers[l], rest);
    }
    const float* out = layers[last].out;
    rms_norm(out, weights.norm, normed, inverse, m, d, sizes.epsilon);
    linear(normed, weights.lm_head, logits, m, sizes.vocabulary, d);
    const double loss = cross_entropy(tree, logits, sizes.vocabulary, scale, counted, logs) * scale;
    if (!flat_gradient) return loss;

    if (matrices) linear_dw(logits, normed, gradient.lm_head, m, sizes.vocabulary, d);
    linear_dx(logits, weights.lm_head, dnormed, m, sizes.vocabulary, d);
    zero(g.dmiddle, m * d);
    zero(gradient.norm, d);
    rms_norm_backward(dnormed, out, weights.norm, inverse, g.dmiddle, gradient.norm, m, d);
    for (long l = last; l >= 0; l--) {
        layer_backward(sizes, weights.layer(l), gradient.layer(l), tree, rows_of(sizes, tree, l), table, layers[l], g,
                       matrices, rest);
        float* const dx = g.dx;
        g.dx = g.dmiddle;
        g.dmiddle = dx;
    }
    zero(gradient.embed, sizes.vocabulary * d);
    for (long i = 0; i < n; i++) add(gradient.embed + tree.ids[i] * d, g.dmiddle + i * d, d);
    return loss;
}

EXPORTED long step_floats(const Sizes* sizes, const Tree* tree) {
    long floats;
    loss_and_gradient(*sizes, nullptr, nullptr, *tree, 0.0f, false, nullptr, &floats);
    return floats;
}

EXPORTED double step(const Sizes* sizes, float* weights, float* gradient, const Tree* tree, double scale, int matrices,
                     float* array) {
    long floats;
    return loss_and_gradient(*sizes, weights, gradient, *tree, (float)scale, matrices != 0, array, &floats);
}

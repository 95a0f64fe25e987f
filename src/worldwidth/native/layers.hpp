// The parts of a decoder layer beside attention, and a whole layer forward; its backward pass is in step.cpp.
#pragma once

#include "model.hpp"

// y (rows, d) = x / rms(x) * w, and inverse (rows) = 1 / rms(x): arXiv 1910.07467
void rms_norm(const float* x, const float* w, float* y, float* inverse, long rows, long d, double epsilon);

// dx (rows, d) += and dw (d) +=, from dy (rows, d)
void rms_norm_backward(const float* dy, const float* x, const float* w, const float* inverse, float* dx, float* dw,
                       long rows, long d);

// a (rows, inner) = silu(gate) * up, of gate_up (rows, 2 inner): arXiv 2002.05202
void swiglu(const float* gate_up, float* a, long rows, long inner);

// dgate_up (rows, 2 inner) from da (rows, inner)
void swiglu_backward(const float* gate_up, const float* da, float* dgate_up, long rows, long inner);

// The angles of rotary embeddings (arXiv 2104.09864): cos and sin of position * theta^(-2 c / head) for each pair c.
void rotations(float* table, long positions, long head, double theta);  // table (positions, head / 2, 2)

// Turn each pair of the first d channels of x (count, n) by its angle, or back.
void rotate(const Sizes& sizes, float* x, long count, long n, const int* positions, const float* table, bool back);

// to (rows, d) = the rows of `from` that `rows` names
void gather_rows(const float* from, Rows rows, long d, float* to);

// x (count, d) += at the rows that `rows` names
void add_to_rows(const float* from, Rows rows, long d, float* x);

// y (count, n) = x (count, d) w (n, d)^T + bias (n), the first d columns turned by their positions: q, or k and v.
void project(const Sizes& sizes, const float* w, const float* bias, const float* x, float* y, long count, long n,
             const int* positions, const float* table);

// What a layer computes for a tree; backward needs all of it. Rows are those for which more than keys and values is
// computed: all nodes, in the last layer only those that predict.
struct Activations {
    float *x, *normed, *inverse;        // (count, d), (count, d), (count): the residual stream before the layer
    float *kv;                          // (count, 2 d)
    float *row_normed, *q, *attended;   // (rows, d)
    int* row_positions;                 // (rows)
    float* probabilities;               // see attention.hpp
    float *middle, *middle_normed, *middle_inverse;  // (rows, d), (rows, d), (rows): the stream between the halves
    float *gate_up, *a;                 // (rows, 2 inner), (rows, inner)
    float* out;                         // (rows, d): the stream behind the layer

    Activations(const Sizes& sizes, const Tree& tree, Rows rows, Memory& memory);
};

// Fill `activations` from x: one layer for the nodes of a tree.
void layer_forward(const Sizes& sizes, const Layer& weights, const Tree& tree, Rows rows, const float* table,
                   Activations& activations, Memory memory);

// The second half of a layer, from `attended` and the residual stream in `middle` to `out`.
void mlp_forward(const Sizes& sizes, const Layer& weights, long rows, Activations& activations);

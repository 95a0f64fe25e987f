// Causal attention over a prefix tree, for sixteen queries of a line at a time: a lane holds a query.
#pragma once

#include "model.hpp"

// Floats of the probabilities that the forward pass leaves for the backward pass.
long probability_floats(const Tree& tree, long heads);

// Floats of memory to work in, forward and backward.
long attention_floats(const Tree& tree);

// out (rows, d) from q (rows, d) and kv (tree.count, 2 d): k, then v.
void attention(const Tree& tree, Rows rows, long heads, long head, const float* q, const float* kv, float* out,
               float* probabilities, Memory memory);

// dq (rows, d), and dkv (tree.count, 2 d) to which it adds, from dout (rows, d).
void attention_backward(const Tree& tree, Rows rows, long heads, long head, const float* q, const float* kv,
                        const float* probabilities, const float* dout, float* dq, float* dkv, Memory memory);

// out (d) of one query q (d) that sees the nodes of `path` (length); kv (nodes, 2 d). `scores` has room for `length`
// and is rounded up to whole vectors.
void attention_of_one(const int* path, long length, long heads, long head, const float* q, const float* kv,
                      float* scores, float* out);

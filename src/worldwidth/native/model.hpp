// What Python hands over: the sizes of a model, its weights as one array, lines as a prefix tree, memory to work in.
#pragma once

#include "vectors.hpp"

// What the library shows, to Python's ctypes.
#define EXPORTED extern "C" __attribute__((visibility("default")))

struct Sizes {
    long vocabulary, hidden, inner, layers, heads;
    double epsilon, theta;

    long head() const { return hidden / heads; }
};

// The weights of one layer, or their gradient. q, k and v lie under each other in `qkv`, gate and up in `gate_up`.
struct Layer {
    float* qkv;         // (3 d, d)
    float* o;           // (d, d)
    float* gate_up;     // (2 inner, d)
    float* down;        // (d, inner)
    float* input_norm;  // (d)
    float* qkv_bias;    // (3 d)
    float* post_norm;   // (d)
};

// All weights, or their gradient, as views of one array in the order of worldwidth.model.layout.
struct Weights {
    Sizes sizes;
    float *embed, *lm_head;                                                      // (vocabulary, d)
    float *qkv, *o, *gate_up, *down, *input_norm, *qkv_bias, *post_norm, *norm;  // those of the layers: layer first

    Weights(const Sizes& s, float* flat) : sizes(s) {
        const long d = s.hidden;
        auto next = [&](long floats) { return (flat += floats) - floats; };
        embed = next(s.vocabulary * d);
        lm_head = next(s.vocabulary * d);
        qkv = next(s.layers * 3 * d * d);
        o = next(s.layers * d * d);
        gate_up = next(s.layers * 2 * s.inner * d);
        down = next(s.layers * d * s.inner);
        input_norm = next(s.layers * d);
        qkv_bias = next(s.layers * 3 * d);
        post_norm = next(s.layers * d);
        norm = next(d);
    }

    Layer layer(long l) const {
        const long d = sizes.hidden, inner = sizes.inner;
        return {qkv + l * 3 * d * d,  o + l * d * d,      gate_up + l * 2 * inner * d,
                down + l * d * inner, input_norm + l * d, qkv_bias + l * 3 * d,
                post_norm + l * d};
    }
};

// Lines as nodes, one for every distinct prefix: worldwidth.model.packing.Tree. The new nodes of a line have consecutive
// numbers, those of the lines follow each other.
struct Tree {
    const int* ids;        // (count) token of each node
    const int* positions;  // (count) its position
    const int* nodes;      // (lines, longest) node of every token
    const int* lengths;    // (lines)
    const int* shared;     // (lines) first tokens that are nodes of the line above
    const int* queries;    // (predicting) nodes from which something is predicted, ascending
    const int* sources;    // (predictions) place of each prediction in `queries`
    const int* targets;    // (predictions) token that it should predict
    long count, lines, longest, predicting, predictions;
};

// The nodes of a tree for which a layer computes more than keys and values: all, or some of them.
struct Rows {
    const int* nodes;  // (count) ascending; null: all
    long count;

    long node(long row) const { return nodes ? nodes[row] : row; }
};

// Pieces of one array. Without an array it only measures what is asked for.
class Memory {
public:
    explicit Memory(float* array) : array_(array) {}

    float* floats(long count) {
        float* piece = array_ ? array_ + used_ : nullptr;
        used_ += rounded_up(count, LANES);
        return piece;
    }
    int* ints(long count) { return reinterpret_cast<int*>(floats(count)); }
    template <typename Thing>
    Thing* things(long count) {
        return reinterpret_cast<Thing*>(floats(count * (long)(sizeof(Thing) / sizeof(float))));
    }
    long used() const { return used_; }

private:
    float* array_;
    long used_ = 0;
};

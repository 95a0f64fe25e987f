// Greedy answers for the lines of a tree of prompts: the tree once, then every new token is one more node.
#pragma once

#include "layers.hpp"

// A line that is still being continued. Prompts that are equal end in the same node and are one line here.
struct Open {
    long query;   // its place among the tree's queries
    long length;  // of its path
};

static long argmax(const float* x, long n) {
    const float top = largest(x, n);
    long i = 0;
    while (i < n - 1 && x[i] != top) i++;
    return i;
}

// The first lines of the tree that end in each of its queries: path (predicting, room) with their nodes.
static void first_paths(const Tree& tree, int* paths, long room, Open* open) {
    for (long line = tree.lines - 1; line >= 0; line--) {
        Open& here = open[tree.sources[line]];
        here = {tree.sources[line], tree.lengths[line]};
        memcpy(paths + here.query * room, tree.nodes + line * tree.longest, here.length * sizeof(int));
    }
}

static void decode_tree(const Sizes& sizes, float* flat_weights, const Tree& tree, long width, int eos, int* answers,
                        float* array, long* floats) {
    const long d = sizes.hidden, n = tree.count, m = tree.predicting, last = sizes.layers - 1;
    const long room = tree.longest + width, nodes = n + m * (width - 1);
    const Rows all_rows{nullptr, n}, queries{tree.queries, m};
    Memory memory(array);
    float* table = memory.floats(room * sizes.head());
    float** kv = memory.things<float*>(sizes.layers);
    for (long l = 0; l <= last; l++) {
        float* cache = memory.floats(nodes * 2 * d);
        if (array) kv[l] = cache;
    }
    Activations all_nodes(sizes, tree, all_rows, memory), some_nodes(sizes, tree, queries, memory);
    float *x = memory.floats(n * d), *logits = memory.floats(m * sizes.vocabulary), *scores = memory.floats(room);
    int *paths = memory.ints(m * room), *tokens = memory.ints(m), *positions = memory.ints(m);
    Open* open = memory.things<Open>(m);
    const Memory rest = memory;
    *floats = memory.used() + attention_floats(tree);
    if (!array) return;

    const Weights weights(sizes, flat_weights);
    rotations(table, room, sizes.head(), sizes.theta);
    for (long i = 0; i < n; i++) memcpy(x + i * d, weights.embed + tree.ids[i] * d, d * sizeof(float));
    for (long l = 0; l <= last; l++) {
        Activations& s = l < last ? all_nodes : some_nodes;
        s.x = x;
        s.kv = kv[l];
        layer_forward(sizes, weights.layer(l), tree, l < last ? all_rows : queries, table, s, rest);
        memcpy(x, s.out, (l < last ? n : m) * d * sizeof(float));
    }
    first_paths(tree, paths, room, open);
    Activations& s = some_nodes;  // from here on a row is an open line
    long alive = m, made = n;
    for (long column = 0; alive; column++) {
        rms_norm(x, weights.norm, s.normed, s.inverse, alive, d, sizes.epsilon);
        linear(s.normed, weights.lm_head, logits, alive, sizes.vocabulary, d);
        long going_on = 0;
        for (long i = 0; i < alive; i++) {
            const Open line = open[i];
            const int token = (int)argmax(logits + i * sizes.vocabulary, sizes.vocabulary);
            answers[line.query * width + column] = token;
            if (token == eos) continue;
            tokens[going_on] = token;
            open[going_on++] = line;
        }
        alive = going_on;
        if (column == width - 1) break;
        for (long i = 0; i < alive; i++) {
            memcpy(x + i * d, weights.embed + tokens[i] * d, d * sizeof(float));
            positions[i] = (int)open[i].length;
            paths[open[i].query * room + open[i].length++] = (int)(made + i);
        }
        for (long l = 0; l <= last; l++) {
            const Layer layer = weights.layer(l);
            float* cache = kv[l] + made * 2 * d;
            rms_norm(x, layer.input_norm, s.normed, s.inverse, alive, d, sizes.epsilon);
            project(sizes, layer.qkv, layer.qkv_bias, s.normed, s.q, alive, d, positions, table);
            project(sizes, layer.qkv + d * d, layer.qkv_bias + d, s.normed, cache, alive, 2 * d, positions, table);
            for (long i = 0; i < alive; i++)
                attention_of_one(paths + open[i].query * room, open[i].length, sizes.heads, sizes.head(), s.q + i * d,
                                 kv[l], scores, s.attended + i * d);
            memcpy(s.middle, x, alive * d * sizeof(float));
            mlp_forward(sizes, layer, alive, s);
            memcpy(x, s.out, alive * d * sizeof(float));
        }
        made += alive;
    }
}

EXPORTED long decode_floats(const Sizes* sizes, const Tree* tree, long width) {
    long floats;
    decode_tree(*sizes, nullptr, *tree, width, 0, nullptr, nullptr, &floats);
    return floats;
}

// answers (tree.predicting, width): what follows each query, up to and with `eos`; the rest is left as it is.
EXPORTED void decode(const Sizes* sizes, float* weights, const Tree* tree, long width, int eos, int* answers,
                     float* array) {
    long floats;
    decode_tree(*sizes, weights, *tree, width, eos, answers, array, &floats);
}

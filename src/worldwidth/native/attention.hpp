// Causal attention over a prefix tree, for sixteen queries of a line at a time: a lane holds a query.
#pragma once

#include "model.hpp"

constexpr long KEYS = 4;  // handled together; the last key of a line is repeated, masked, up to a multiple

// Floats of the probabilities that the forward pass leaves for the backward pass.
static long probability_floats(const Tree& tree, long heads) {
    long floats = 0;
    for (long line = 0; line < tree.lines; line++) {
        const long blocks = rounded_up(tree.lengths[line] - tree.shared[line], LANES) / LANES;
        floats += blocks * rounded_up(tree.lengths[line], KEYS) * LANES * heads;
    }
    return floats;
}

static long scratch_keys(const Tree& tree) { return rounded_up(tree.longest, KEYS); }

// Floats of memory to work in, forward and backward.
static long attention_floats(const Tree& tree) { return scratch_keys(tree) * (2 + LANES) + 2 * LANES; }

// At most sixteen queries of one line: rows `first` to `first + count`, which see up to `keys` keys.
struct Block {
    long line, first, count, keys;
    i16 positions;  // that of each lane; lanes without a query have the last one's
};

// Call `work` for every block of queries, line by line.
template <typename Work>
static void for_blocks(const Tree& tree, Rows rows, Work work) {
    long row = 0, node = 0;
    for (long line = 0; line < tree.lines; line++) {
        node += tree.lengths[line] - tree.shared[line];
        while (row < rows.count && rows.node(row) < node) {
            Block block{line, row, 0, 0, {}};
            int positions[LANES];
            while (block.count < LANES && row < rows.count && rows.node(row) < node)
                positions[block.count++] = tree.positions[rows.node(row++)];
            block.keys = rounded_up(positions[block.count - 1] + 1, KEYS);
            for (long lane = block.count; lane < LANES; lane++) positions[lane] = positions[block.count - 1];
            memcpy(&block.positions, positions, sizeof positions);
            work(block);
        }
    }
}

// pointers (keys) to the row of every key in x, whose rows have `stride` floats
template <typename Float>
static void rows_of_keys(const Tree& tree, const Block& block, Float* x, long stride, Float** pointers) {
    const int* nodes = tree.nodes + block.line * tree.longest;
    const long last = block.positions[LANES - 1];
    for (long j = 0; j < block.keys; j++) pointers[j] = x + nodes[j < last ? j : last] * stride;
}

INLINE v16 masked(v16 x, const Block& block, long key, float otherwise) {
    return block.positions >= (int)key ? x : all(otherwise);
}

// to (head) vectors = factor * x (count, d; its first `head` channels)^T
INLINE void gather(const float* x, long d, long count, long head, float factor, v16* to) {
    float* lanes = reinterpret_cast<float*>(to);
    memset(lanes, 0, head * sizeof(v16));
    for (long lane = 0; lane < count; lane++)
        for (long c = 0; c < head; c++) lanes[c * LANES + lane] = x[lane * d + c] * factor;
}

INLINE void scatter(const v16* from, long d, long count, long head, float* x) {
    const float* lanes = reinterpret_cast<const float*>(from);
    for (long lane = 0; lane < count; lane++)
        for (long c = 0; c < head; c++) x[lane * d + c] = lanes[c * LANES + lane];
}

// out[KEYS] = the products of q (head) vectors with KEYS keys
INLINE void products(const v16* q, const float* const* keys, long offset, long head, v16* out) {
    v16 sums[KEYS] = {};
    for (long c = 0; c < head; c++)
        for (long j = 0; j < KEYS; j++) sums[j] = fma(all(keys[j][offset + c]), q[c], sums[j]);
    for (long j = 0; j < KEYS; j++) out[j] = sums[j];
}

// out (head) vectors = sum over the keys of weights (keys) vectors times values
template <long HEAD>
INLINE void mixed(const v16* weights, const float* const* values, long offset, long keys, long head, v16* out) {
    constexpr long TOGETHER = HEAD == 0 ? 1 : HEAD < 8 ? HEAD : 8;  // channels whose sums stay in registers
    for (long c = 0; c < head; c += TOGETHER) {
        v16 sums[TOGETHER] = {};
        for (long j = 0; j < keys; j++)
            for (long i = 0; i < TOGETHER; i++) sums[i] = fma(all(values[j][offset + c + i]), weights[j], sums[i]);
        for (long i = 0; i < TOGETHER; i++) out[c + i] = sums[i];
    }
}

constexpr long MOST_CHANNELS = 64;

// HEAD: channels of a head where they are known to the compiler, else 0.
template <long HEAD>
static void forward(const Tree& tree, Rows rows, long heads, long any_head, const float* q, const float* kv, float* out,
                    float* probabilities, Memory memory) {
    const long head = HEAD ? HEAD : any_head, d = heads * head;
    const float scale = 1.0f / __builtin_sqrtf((float)head);
    const float** keys = memory.things<const float*>(scratch_keys(tree));
    v16* p = reinterpret_cast<v16*>(probabilities);
    for_blocks(tree, rows, [&](const Block& block) {
        rows_of_keys(tree, block, kv, 2 * d, keys);
        for (long h = 0; h < heads; h++, p += block.keys) {
            v16 own[MOST_CHANNELS], biggest = all(-3e38f), total{};
            gather(q + block.first * d + h * head, d, block.count, head, scale, own);
            for (long j = 0; j < block.keys; j += KEYS) {
                products(own, keys + j, h * head, head, p + j);
                for (long i = j; i < j + KEYS; i++) biggest = larger(biggest, p[i] = masked(p[i], block, i, -3e38f));
            }
            for (long j = 0; j < block.keys; j++) total += p[j] = exp(p[j] - biggest);
            const v16 factor = 1.0f / total;
            for (long j = 0; j < block.keys; j++) p[j] *= factor;
            mixed<HEAD>(p, keys, d + h * head, block.keys, head, own);
            scatter(own, d, block.count, head, out + block.first * d + h * head);
        }
    });
}

template <long HEAD>
static void backward(const Tree& tree, Rows rows, long heads, long any_head, const float* q, const float* kv,
                     const float* probabilities, const float* dout, float* dq, float* dkv, Memory memory) {
    const long head = HEAD ? HEAD : any_head, d = heads * head;
    const float scale = 1.0f / __builtin_sqrtf((float)head);
    const float** keys = memory.things<const float*>(scratch_keys(tree));
    v16* ds = memory.things<v16>(scratch_keys(tree));
    const v16* p = reinterpret_cast<const v16*>(probabilities);
    for_blocks(tree, rows, [&](const Block& block) {
        rows_of_keys(tree, block, kv, 2 * d, keys);
        for (long h = 0; h < heads; h++, p += block.keys) {
            const long first = block.first * d + h * head;
            v16 own[MOST_CHANNELS], common{};
            gather(dout + first, d, block.count, head, 1.0f, own);
            for (long j = 0; j < block.keys; j += KEYS) {
                products(own, keys + j, d + h * head, head, ds + j);
                for (long i = j; i < j + KEYS; i++) common = fma(p[i], ds[i], common);
            }
            for (long j = 0; j < block.keys; j++) ds[j] = p[j] * (ds[j] - common) * scale;
            mixed<HEAD>(ds, keys, h * head, block.keys, head, own);
            scatter(own, d, block.count, head, dq + first);
            for (long j = 0; j < block.keys; j += 2) {  // two keys at a time: a row of q and dout is read for both
                float dk[2][MOST_CHANNELS] = {}, dv[2][MOST_CHANNELS] = {};
                const float *ds_lanes = reinterpret_cast<float*>(ds + j), *p_lanes = reinterpret_cast<const float*>(p + j);
                for (long lane = 0; lane < block.count; lane++) {
                    const float *own_q = q + first + lane * d, *own_dout = dout + first + lane * d;
                    for (long i = 0; i < 2; i++)
                        for (long c = 0; c < head; c++)
                            dk[i][c] = __builtin_fmaf(ds_lanes[i * LANES + lane], own_q[c], dk[i][c]);
                    for (long i = 0; i < 2; i++)
                        for (long c = 0; c < head; c++)
                            dv[i][c] = __builtin_fmaf(p_lanes[i * LANES + lane], own_dout[c], dv[i][c]);
                }
                for (long i = 0; i < 2; i++) {
                    float* to = dkv + (keys[j + i] - kv) + h * head;
                    for (long c = 0; c < head; c++) to[c] += dk[i][c];
                    for (long c = 0; c < head; c++) to[d + c] += dv[i][c];
                }
            }
        }
    });
}

template <long HEAD>
static void one(const int* path, long length, long heads, long any_head, const float* q, const float* kv, float* scores,
                float* out) {
    const long head = HEAD ? HEAD : any_head, d = heads * head;
    const float scale = 1.0f / __builtin_sqrtf((float)head);
    for (long h = 0; h < heads; h++) {
        const float* own = q + h * head;
        for (long j = 0; j < length; j++) scores[j] = dot(own, kv + path[j] * 2 * d + h * head, head) * scale;
        for (long j = length; j < rounded_up(length, LANES); j++) scores[j] = -3e38f;
        const float top = largest(scores, length);
        v16 total{};
        for (long j = 0; j < length; j += LANES) {
            const v16 e = exp(load(scores + j) - top);
            store(scores + j, e);
            total += e;
        }
        const float factor = 1.0f / sum(total);
        float mix[MOST_CHANNELS] = {};
        for (long j = 0; j < length; j++) {
            const float* value = kv + path[j] * 2 * d + d + h * head;
            for (long c = 0; c < head; c++) mix[c] = __builtin_fmaf(scores[j] * factor, value[c], mix[c]);
        }
        for (long c = 0; c < head; c++) out[h * head + c] = mix[c];
    }
}

// Call a function above with the head size as a constant where it is a usual one.
#define BY_HEAD(function, ...)                     \
    switch (head) {                                \
        case 4: return function<4>(__VA_ARGS__);   \
        case 8: return function<8>(__VA_ARGS__);   \
        case 16: return function<16>(__VA_ARGS__); \
        case 32: return function<32>(__VA_ARGS__); \
        case 64: return function<64>(__VA_ARGS__); \
        default: return function<0>(__VA_ARGS__);  \
    }

// out (rows, d) from q (rows, d) and kv (tree.count, 2 d): k, then v.
static void attention(const Tree& tree, Rows rows, long heads, long head, const float* q, const float* kv, float* out,
                      float* probabilities, Memory memory) {
    BY_HEAD(forward, tree, rows, heads, head, q, kv, out, probabilities, memory)
}

// dq (rows, d), and dkv (tree.count, 2 d) to which it adds, from dout (rows, d).
static void attention_backward(const Tree& tree, Rows rows, long heads, long head, const float* q, const float* kv,
                               const float* probabilities, const float* dout, float* dq, float* dkv, Memory memory) {
    BY_HEAD(backward, tree, rows, heads, head, q, kv, probabilities, dout, dq, dkv, memory)
}

// out (d) of one query q (d) that sees the nodes of `path` (length); kv (nodes, 2 d). `scores` has room for whole
// vectors.
static void attention_of_one(const int* path, long length, long heads, long head, const float* q, const float* kv,
                             float* scores, float* out) {
    BY_HEAD(one, path, length, heads, head, q, kv, scores, out)
}

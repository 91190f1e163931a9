// How fast the tile kernel is when nothing else is in its way: the peak that benchmarks hold searches against.
#pragma once

namespace idsim::cpu {

// Operations per second, two for each multiply-add, of the active table's tile kernel in so many threads
// at once, on rows that stay in the cache. Takes about 20 ms.
double tile_rate(int threads);

}  // namespace idsim::cpu

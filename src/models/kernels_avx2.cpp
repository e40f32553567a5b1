#define VFLBUS_KERNELS kernels_avx2
#include "models/kernels_impl.hpp"

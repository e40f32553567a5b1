#define VFLBUS_KERNELS kernels_avx512
#include "models/kernels_impl.hpp"

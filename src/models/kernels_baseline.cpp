#define VFLBUS_KERNELS kernels_baseline
#include "models/kernels_impl.hpp"

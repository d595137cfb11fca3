#ifndef BLOCKPROP_PRODUCT_H
#define BLOCKPROP_PRODUCT_H

#include "vector.h"

enum { LINE = 16 };

/* c = a b, see product.c.   halves: 1 if the right half of the columns is not wanted, which is 0 then. */
void NAME(product)(int rows, int halves, const float *a, const float *b, long k, float *c);

#endif

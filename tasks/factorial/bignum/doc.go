// Package bignum is the parallel arithmetic under the factorial task: products
// of very large integers and their decimal text, on top of math/big.
//
// math/big multiplies by Karatsuba's method on one core. Above some thousand
// words this package multiplies by Toom and Cook's three-way method instead,
// whose five products are independent and run beside each other; A. L. Toom, "The
// complexity of a scheme of functional elements realizing the multiplication of
// integers", 1963, with the evaluation points and the order of interpolation of
// M. Bodrato, "Towards optimal Toom-Cook multiplication for univariate and
// multivariate polynomials in characteristic 2 and 0", WAIFI 2007. Division,
// which only the change to base ten needs, is the recursive one of C. Burnikel and
// J. Ziegler, "Fast Recursive Division", MPI-I-98-1-022, 1998; the change of base
// is the divide and conquer of D. E. Knuth, "The Art of Computer Programming",
// volume 2, section 4.4.
//
// All products go through [Pool.Mul]: a faster multiplication belongs there, and
// nothing above it has to know.
package bignum

"""Which operators of torch a network may call by name: a list, because torch does not say which are safe to call.

A network file may come from a stranger, and thousands of operators are within reach by name. Here are those that
torch.export makes of modules (public functions and methods of tensors) and that check their arguments themselves:
about 900,000 wild calls have been made in all, by `bench/trust.py operators`. Left out, each with its kind, are

- what is private to torch (_fft_r2c and others read foreign memory where a public function in front would have refused)
- what makes views by strides, or changes its arguments (as_strided, set_, resize_)
- kernels of one backend or storage: quantized, sparse, nested, mkldnn, cudnn, native_*, *_forward, *_copy
- indices that are not looked at: factors of LAPACK (lu_solve, ldl_solve), fractional pooling, segments, bags, ctc_loss
- eigenvalues of general matrices, which a NaN among the numbers can make read elsewhere (linalg_eig, linalg_eigvals)
- division of whole numbers, where the smallest by -1 ends the process (gcd, lcm, div with a rounding_mode)
- places as floating numbers, which overflow when they become whole ones (grid_sampler, upsample)
- distances between the rows of one matrix, where no rows end the process (pdist)
- polynomials of any degree, whose time the file would choose
- layers that have a block here: a convolution or recurrent layer is never opaque
"""

_TEXT = """
abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr adjoint alpha_dropout amax amin aminmax all angle
any arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort argwhere asin asinh atan atan2 atanh
atleast_1d atleast_2d atleast_3d baddbmm bilinear binary_cross_entropy binary_cross_entropy_with_logits bitwise_and
bitwise_not bitwise_or bitwise_xor block_diag bmm broadcast_tensors broadcast_to bucketize cartesian_prod cat cdist
ceil celu chain_matmul channel_shuffle cholesky cholesky_inverse cholesky_solve chunk clamp clamp_max clamp_min clip
clone column_stack complex concat concatenate conj conj_physical constant_pad_nd contiguous copysign corrcoef cos cosh
cosine_embedding_loss cosine_similarity count_nonzero cov cross cross_entropy_loss cummax cummin cumprod cumsum
cumulative_trapezoid deg2rad det detach diag diag_embed diagflat diagonal diagonal_scatter diff digamma dist div
divide dot dropout dsplit dstack einsum elu embedding eq erf erfc erfinv exp exp2 expand expand_as expm1
feature_alpha_dropout feature_dropout fft_fft fft_fft2 fft_fftn fft_fftshift fft_hfft fft_hfft2 fft_hfftn fft_ifft
fft_ifft2 fft_ifftn fft_ifftshift fft_ihfft fft_ihfft2 fft_ihfftn fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2
fft_rfftn fill fix flatten flip fliplr flipud float_power floor floor_divide fmax fmin fmod frac frexp frobenius_norm
gather ge gelu ger glu gradient greater greater_equal group_norm gt hardshrink hardsigmoid hardswish hardtanh
heaviside hinge_embedding_loss histc hsplit hstack huber_loss hypot i0 igamma igammac imag index index_add index_copy
index_fill index_put index_reduce index_select inner instance_norm inverse isclose isfinite isin isinf isnan isneginf
isposinf isreal istft kl_div kron kthvalue l1_loss layer_norm ldexp le leaky_relu lerp less less_equal lgamma
linalg_cholesky linalg_cholesky_ex linalg_cond linalg_cross linalg_det linalg_diagonal linalg_eigh
linalg_eigvalsh linalg_inv linalg_inv_ex linalg_lu linalg_matmul linalg_matrix_exp linalg_matrix_norm
linalg_matrix_power linalg_matrix_rank linalg_multi_dot linalg_norm linalg_pinv linalg_qr linalg_slogdet linalg_solve
linalg_solve_ex linalg_solve_triangular linalg_tensorinv linalg_tensorsolve linalg_vecdot linalg_vector_norm linear
log log10 log1p log2 log_sigmoid log_softmax logaddexp logaddexp2 logcumsumexp logdet logical_and logical_not
logical_or logical_xor logit logsumexp lt mH mT margin_ranking_loss masked_fill masked_scatter masked_select matmul
matrix_H matrix_exp matrix_power max max_pool1d max_pool2d max_pool3d maximum mean median meshgrid min minimum mish mm
mode moveaxis movedim mse_loss msort mul multiply mv nan_to_num nanmean nanmedian nansum narrow ne neg negative
nll_loss nll_loss2d nll_loss_nd nonzero nonzero_numpy norm not_equal nuclear_norm numpy_T one_hot outer pad
pairwise_distance permute pinverse pixel_shuffle pixel_unshuffle poisson_nll_loss polar positive pow prelu prod
qr rad2deg ravel real reciprocal relu relu6 remainder renorm repeat repeat_interleave reshape reshape_as resolve_conj
resolve_neg rms_norm roll rot90 round row_stack rsqrt rsub scaled_dot_product_attention scatter scatter_add
scatter_reduce searchsorted select select_scatter selu sgn sigmoid sign signbit silu sin sinc sinh slice slice_scatter
slogdet smooth_l1_loss soft_margin_loss softmax softplus softshrink sort special_bessel_j0 special_bessel_j1
special_bessel_y0 special_bessel_y1 special_digamma special_entr special_erf special_erfc special_erfcx special_erfinv
special_exp2 special_expit special_expm1 special_gammainc special_gammaincc special_gammaln special_i0 special_i0e
special_i1 special_i1e special_log1p special_log_ndtr special_log_softmax special_logit special_logsumexp
special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1
special_ndtr special_ndtri special_psi special_round special_scaled_modified_bessel_k0
special_scaled_modified_bessel_k1 special_sinc special_softmax special_spherical_bessel_j0 special_xlog1py
special_xlogy split split_with_sizes sqrt square squeeze stack std std_mean stft sub subtract sum sum_to_size svd
swapaxes swapdims t take take_along_dim tan tanh tensor_split tensordot threshold tile to topk trace transpose
trapezoid trapz triangular_solve tril triplet_margin_loss triu true_divide trunc type_as unbind unflatten unfold
unsqueeze var var_mean vdot view view_as view_as_complex view_as_real vsplit vstack where xlogy
"""
ALLOWED = frozenset(_TEXT.split())
"""Names without "aten."; the overloads are looked at in operators.py."""

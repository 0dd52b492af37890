//! The matrix product of the CPU convolutions, a checked call of the `gemm` crate.

/// A strided view of a matrix.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows are `row` elements apart.
    pub(crate) fn rows(data: &'a [f32], row: usize) -> Matrix<'a> {
        Matrix { data, row, column: 1 }
    }

    /// A matrix whose columns are `column` elements apart.
    pub(crate) fn columns(data: &'a [f32], column: usize) -> Matrix<'a> {
        Matrix { data, row: 1, column }
    }

    fn check(&self, rows: usize, columns: usize) {
        assert!(
            rows > 0 && columns > 0 && self.data.len() > (rows - 1) * self.row + (columns - 1) * self.column
        );
    }
}

/// `out = a * b`, where `a` is `m x k`, `b` is `k x n` and `out` is `m x n` in rows. Runs on the calling thread.
#[allow(
    unsafe_code,
    reason = "the gemm crate takes raw pointers; the lengths are checked just above the call"
)]
pub(crate) fn multiply([m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) {
    a.check(m, k);
    b.check(k, n);
    assert_eq!(out.len(), m * n);
    // SAFETY: `check` proved that the last element of each matrix is inside its slice; `out` holds m * n elements.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

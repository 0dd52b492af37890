//! Where the pixels of a GeoTIFF lie on the earth, and what its writer says about them.
//!
//! Specification: OGC GeoTIFF 1.1, <https://docs.ogc.org/is/19-008r4/19-008r4.html>. GDAL's two tags:
//! <https://gdal.org/en/stable/drivers/raster/gtiff.html>.

/// The key that tells what pixel coordinates mean, and the value for centres of pixels.
const RASTER_TYPE: u16 = 1025;
const PIXEL_IS_POINT: u16 = 2;

/// The tags of a GeoTIFF that a result keeps. Tags that the file lacks are empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Georeference {
    /// Size of a pixel along x, y, z; tag 33550.
    pub(super) scale: Vec<f64>,
    /// Six numbers for each point: column, row, layer, and x, y, z; tag 33922.
    pub(super) tiepoints: Vec<f64>,
    /// A matrix of 4x4, row after row, from column, row, layer and 1 to x, y, z and 1; tag 34264.
    pub(super) matrix: Vec<f64>,
    /// Keys of the coordinate system, four numbers each; tag 34735.
    pub(super) keys: Vec<u16>,
    /// Numbers and texts that keys refer to; tags 34736 and 34737.
    pub(super) doubles: Vec<f64>,
    pub(super) texts: String,
    /// GDAL's metadata as XML, and the value of pixels without data, as text; tags 42112 and 42113.
    pub(super) metadata: String,
    pub(super) nodata: String,
}

/// The values of a tag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Values<'a> {
    Doubles(&'a [f64]),
    Shorts(&'a [u16]),
    Text(&'a str),
}

impl Georeference {
    /// The tags that are there, in order.
    pub(super) fn tags(&self) -> impl Iterator<Item = (u16, Values<'_>)> {
        let tags = [
            (33550, Values::Doubles(&self.scale)),
            (33922, Values::Doubles(&self.tiepoints)),
            (34264, Values::Doubles(&self.matrix)),
            (34735, Values::Shorts(&self.keys)),
            (34736, Values::Doubles(&self.doubles)),
            (34737, Values::Text(&self.texts)),
            (42112, Values::Text(&self.metadata)),
            (42113, Values::Text(&self.nodata)),
        ];
        tags.into_iter().filter(|(_, values)| match values {
            Values::Doubles(values) => !values.is_empty(),
            Values::Shorts(values) => !values.is_empty(),
            Values::Text(text) => !text.is_empty(),
        })
    }

    /// The tags for the same picture with `factors` times as many rows and columns.
    pub(super) fn resized(&self, factors: [f64; 2]) -> Georeference {
        let [down, across] = factors;
        let mut tags = self.clone();
        if factors == [1.0, 1.0] {
            return tags;
        }
        // Coordinates are those of corners of pixels, or of their centres.
        let half = if self.pixel_is_point() { 0.5 } else { 0.0 };
        let moved = |place: f64, factor: f64| (place + half) * factor - half;
        for (size, factor) in tags.scale.iter_mut().zip([across, down]) {
            *size /= factor;
        }
        for point in tags.tiepoints.chunks_exact_mut(6) {
            (point[0], point[1]) = (moved(point[0], across), moved(point[1], down));
        }
        for row in tags.matrix.chunks_exact_mut(4) {
            // An old place is (new + half) / factor - half.
            row[3] += row[0] * half * (1.0 / across - 1.0) + row[1] * half * (1.0 / down - 1.0);
            (row[0], row[1]) = (row[0] / across, row[1] / down);
        }
        tags
    }

    fn pixel_is_point(&self) -> bool {
        self.keys.chunks_exact(4).skip(1).any(|key| key[0] == RASTER_TYPE && key[3] == PIXEL_IS_POINT)
    }

    /// The value of pixels without data.
    pub(super) fn nodata(&self) -> Option<f64> {
        self.nodata.trim_end_matches('\0').trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place on the earth of a corner of the picture.
    fn place(tags: &Georeference, column: f64, row: f64) -> [f64; 2] {
        let half = if tags.pixel_is_point() { 0.5 } else { 0.0 };
        let (i, j) = (column - half, row - half);
        if let [a, b, _, c, d, e, _, f, ..] = tags.matrix[..] {
            return [a * i + b * j + c, d * i + e * j + f];
        }
        let point = &tags.tiepoints;
        [point[3] + (i - point[0]) * tags.scale[0], point[4] - (j - point[1]) * tags.scale[1]]
    }

    #[test]
    fn corners_stay_where_they_are_when_the_size_changes() {
        let scaled = Georeference {
            scale: vec![10.0, 5.0, 0.0],
            tiepoints: vec![2.0, 3.0, 0.0, 500_000.0, 4_600_000.0, 0.0],
            ..Georeference::default()
        };
        let matrix =
            vec![3.0, 4.0, 0.0, 100.0, -4.0, 3.0, 0.0, 200.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let turned = Georeference { matrix, ..Georeference::default() };
        for tags in [scaled, turned] {
            for kind in [1, PIXEL_IS_POINT] {
                let tags = Georeference { keys: vec![1, 1, 0, 1, RASTER_TYPE, 0, 1, kind], ..tags.clone() };
                for [down, across] in [[2.0, 2.0], [0.5, 0.25], [1.5, 4.0]] {
                    let resized = tags.resized([down, across]);
                    for (column, row) in [(0.0, 0.0), (40.0, 0.0), (0.0, 24.0), (40.0, 24.0)] {
                        let (old, new) =
                            (place(&tags, column, row), place(&resized, column * across, row * down));
                        let near = old.iter().zip(new).all(|(old, new)| (old - new).abs() < 1e-6);
                        assert!(near, "{kind}, {down}x{across}: {old:?} and {new:?}");
                    }
                }
            }
        }
    }
}

//! Colours for classes that have none.

use super::Palette;
use crate::recipe::is_nothing;

/// Levels of red, green and blue from which colours are chosen.
const LEVELS: [u8; 6] = [0, 51, 102, 153, 204, 255];
/// Lightness in OKLab of colours that show on dark and on bright pictures.
const LIGHTNESS: std::ops::RangeInclusive<f32> = 0.45..=0.93;
/// Least distance from grey in OKLab: pictures are full of greys.
const LEAST_CHROMA: f32 = 0.09;
/// Colours nearer than this in OKLab look alike.
const ALIKE: f32 = 0.02;

/// The colours of all classes: the given ones; black for the background and for classes that stand for nothing; for
/// the others, those of Cityscapes if the names are, and else colours that are far apart. Where no class has a name,
/// they are those of PASCAL VOC.
pub(super) fn completed(
    given: &[Option<[u8; 3]>],
    names: &[String],
    background: Option<u16>,
    is_named: bool,
) -> Vec<[u8; 3]> {
    let has_given = given.iter().any(Option::is_some);
    if !is_named && background == Some(0) {
        let palette = Palette::voc();
        return given
            .iter()
            .enumerate()
            .map(|(i, color)| color.unwrap_or_else(|| palette.color(i)))
            .collect();
    }
    let cityscapes = Palette::cityscapes();
    let is_cityscapes =
        !has_given && names.iter().enumerate().take(19).all(|(i, name)| cityscapes.name(i) == Some(name));
    let known = |i: usize| {
        let is_nothing = background.map(usize::from) == Some(i) || is_nothing(&names[i]);
        let own = given[i].or_else(|| is_nothing.then_some([0; 3]));
        own.or_else(|| (is_cityscapes && names.len() >= 19 && i < 19).then(|| cityscapes.color(i)))
    };
    distinct(&(0..given.len()).map(known).collect::<Vec<_>>())
}

/// Fills in colours: each is as far as possible from all that are given and from all before it (Glasbey et al. 2007, in
/// OKLab). A colour therefore never depends on the classes after it that have none.
fn distinct(given: &[Option<[u8; 3]>]) -> Vec<[u8; 3]> {
    if given.iter().all(Option::is_some) {
        return given.iter().copied().flatten().collect();
    }
    let levels = || LEVELS.into_iter();
    let all = levels().flat_map(|r| levels().flat_map(move |g| levels().map(move |b| [r, g, b])));
    let shown = all
        .map(|color| (color, oklab(color)))
        .filter(|(_, [l, a, b])| LIGHTNESS.contains(l) && a.hypot(*b) >= LEAST_CHROMA);
    let (colors, places): (Vec<[u8; 3]>, Vec<[f32; 3]>) = shown.unzip();
    let mut nearest = vec![f32::INFINITY; colors.len()];
    let mut take = |color: [u8; 3]| {
        let place = oklab(color);
        nearest
            .iter_mut()
            .zip(&places)
            .for_each(|(nearest, other)| *nearest = nearest.min(distance(place, *other)));
        let best = (0..nearest.len()).max_by(|&a, &b| nearest[a].total_cmp(&nearest[b]).then(b.cmp(&a)));
        best.filter(|&best| nearest[best] > ALIKE).map(|best| colors[best])
    };
    let mut next = None;
    for color in [[0; 3], [255; 3]].into_iter().chain(given.iter().copied().flatten()) {
        next = take(color);
    }
    let palette = Palette::voc();
    let fill = |(i, color): (usize, &Option<[u8; 3]>)| {
        color.unwrap_or_else(|| match next {
            Some(chosen) => {
                next = take(chosen);
                chosen
            }
            // All that can be told apart are taken.
            None => palette.color(i),
        })
    };
    given.iter().enumerate().map(fill).collect()
}

fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f32>().sqrt()
}

/// OKLab of an sRGB colour (Björn Ottosson 2020, <https://bottosson.github.io/posts/oklab/>): lightness and two axes of
/// colour, in which distances are those that people see.
fn oklab(color: [u8; 3]) -> [f32; 3] {
    let [r, g, b] =
        color.map(|v| crate::recipe::Curve::inverse(crate::recipe::Curve::Srgb, f64::from(v) / 255.0) as f32);
    let l = (0.412_221_47 * r + 0.536_332_54 * g + 0.051_445_993 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_apart_and_do_not_depend_on_later_classes() {
        let names: Vec<String> = (0..40).map(|i| format!("thing {i}")).collect();
        let all = completed(&[None; 40], &names, None, true);
        assert_eq!(completed(&[None; 12], &names[..12], None, true), all[..12]);
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                let least = if i < 12 { 0.15 } else { 0.06 };
                assert!(distance(oklab(*a), oklab(*b)) > least, "{a:?} and {b:?}");
            }
        }
        // Given ones stay, and the others keep away from them.
        let mut given = [None; 12];
        given[11] = Some(all[0]);
        let some = completed(&given, &names[..12], None, true);
        assert!(some[11] == all[0] && !some[..11].contains(&all[0]));
    }

    #[test]
    fn the_lightness_of_white_is_1() {
        let [l, a, b] = oklab([255; 3]);
        assert!((l - 1.0).abs() < 1e-4 && a.abs() < 1e-4 && b.abs() < 1e-4);
        // Red, as in the post that defines OKLab.
        let [l, a, b] = oklab([255, 0, 0]);
        assert!((l - 0.628).abs() < 1e-3 && (a - 0.2249).abs() < 1e-3 && (b - 0.1258).abs() < 1e-3);
    }
}

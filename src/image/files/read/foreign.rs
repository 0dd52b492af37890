//! Files that are not read, recognised by their first bytes, and what to do with each.

use crate::signature;

/// Programs that convert pictures of most formats.
const MAGICK: &str = "convert it with: magick FILE out.png";
const RAW: &str = "develop it with: darktable-cli FILE out.tif, or dcraw -T FILE";
const VIDEO: &str = "pipe it: ffmpeg -i FILE -f yuv4mpegpipe - | unet run - -m MODEL -o out.y4m";
const MICROSCOPE: &str = "convert it with: bfconvert FILE out.ome.tiff";
const RASTER: &str = "convert it with: gdal_translate FILE out.tif";
const UNPACK: &str = "unpack it first";
const AGAIN: &str = "download the file itself again";

/// A kind of file.
struct Kind {
    /// With its article, such as "a PDF document".
    name: &'static str,
    /// What to do.
    remedy: &'static str,
    is: fn(&[u8]) -> bool,
}

/// The kinds in the order in which they are tried.
#[rustfmt::skip]
const KINDS: &[Kind] = &[
    // Boxes: a length, `ftyp`, the brand, a version, compatible brands.
    kind("an AVIF picture", "convert it with: avifdec FILE out.png", |b| has_brand(b, &[b"avif", b"avis"])),
    kind("a HEIC or HEIF picture", "convert it with: heif-convert FILE out.png", |b| {
        has_brand(b, &[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"])
    }),
    kind("a camera raw file (CR3)", RAW, |b| has_brand(b, &[b"crx "])),
    kind("a JPEG 2000 picture", RASTER, |b| {
        b.starts_with(b"\0\0\0\x0cjP  ") || b.starts_with(b"\xff\x4f\xff\x51") || has_brand(b, &[b"jp2 ", b"jpx "])
    }),
    kind("a JPEG XL picture", "convert it with: djxl FILE out.png", |b| {
        b.starts_with(b"\xff\x0a") || b.starts_with(b"\0\0\0\x0cJXL ")
    }),
    kind("a video (MP4 or MOV)", VIDEO, |b| {
        b.get(4..8).is_some_and(|name| [b"ftyp", b"moov", b"mdat", b"wide", b"skip"].iter().any(|n| name == *n))
    }),
    kind("a JPEG XR picture", "convert it with: JxrDecApp -i FILE -o out.tif", |b| b.starts_with(b"II\xbc\x01")),
    // Camera raw that is no TIFF, or says what it is before the directory.
    kind("a camera raw file (CR2)", RAW, |b| is_tiff(b) && b.get(8..10) == Some(b"CR")),
    kind("a camera raw file (ORF)", RAW, |b| {
        [b"IIRO", b"IIRS", b"MMOR", b"MMSR"].iter().any(|magic| b.starts_with(*magic))
    }),
    kind("a camera raw file (RW2)", RAW, |b| b.starts_with(b"IIU\0")),
    kind("a camera raw file (RAF)", RAW, |b| b.starts_with(b"FUJIFILMCCD-RAW")),
    kind("a camera raw file (X3F)", RAW, |b| b.starts_with(b"FOVb")),
    kind("a camera raw file (MRW)", RAW, |b| b.starts_with(b"\0MRM")),
    kind("a camera raw file (CRW)", RAW, |b| b.get(6..14) == Some(b"HEAPCCDR")),
    // Medicine and science.
    kind("a DICOM file", "convert it with: dcm2niix FILE (to NIfTI), or dcmj2pnm --write-png FILE out.png", is_dicom),
    kind("a NIfTI-2 volume", "only NIfTI-1 is read; convert it with: nifti_tool -convert2nii1 -infiles FILE -prefix out.nii", |b| {
        matches!(b, [_, _, _, _, b'n', b'+' | b'i', b'2', 0, ..])
    }),
    kind("a NumPy array", "rename it to .npy", signature::is_numpy),
    kind("an NRRD volume", "save it as .nii.gz with 3D Slicer or SimpleITK", |b| b.starts_with(b"NRRD0")),
    kind("a FITS file", RASTER, |b| b.starts_with(b"SIMPLE  =")),
    kind("an HDF5 file", "save the pictures in it as .npy or TIFF with h5py", signature::is_hdf5),
    kind("a netCDF file", RASTER, |b| b.starts_with(b"CDF\x01") || b.starts_with(b"CDF\x02")),
    kind("an MRC map", "save it as .tif with mrc2tif FILE out.tif", |b| b.get(208..212) == Some(b"MAP ")),
    kind("a MATLAB file", "save the picture in it as PNG or .npy", signature::is_matlab),
    kind("a microscope's file (CZI)", MICROSCOPE, |b| b.starts_with(b"ZISRAWFILE")),
    kind("a microscope's file (ND2)", MICROSCOPE, |b| b.starts_with(b"\xda\xce\xbe\x0a")),
    kind("a microscope's file (LIF)", MICROSCOPE, |b| matches!(b, [0x70, 0, 0, 0, _, _, _, _, 0x2a, ..])),
    // Documents and drawings.
    kind("an SVG drawing", "draw its pixels with: rsvg-convert FILE -o out.png", |b| is_markup(b, "<svg")),
    kind("a PDF document", "draw its pages with: pdftoppm -png FILE page", signature::is_pdf),
    kind("a PostScript drawing", MAGICK, |b| b.starts_with(b"%!PS") || b.starts_with(b"\xc5\xd0\xd3\xc6")),
    kind("a DjVu document", "convert it with: ddjvu -format=tiff FILE out.tif", |b| b.starts_with(b"AT&TFORM")),
    // Pictures of editors, games and desktops.
    kind("a Photoshop picture (PSD)", "convert it with: magick 'FILE[0]' out.png", |b| b.starts_with(b"8BPS")),
    kind("a GIMP picture (XCF)", "export it as PNG from GIMP", |b| b.starts_with(b"gimp xcf")),
    kind("an icon (ICO)", "convert it with: magick 'FILE[0]' out.png", |b| matches!(b, [0, 0, 1 | 2, 0, _, _, ..])),
    kind("a DDS texture", MAGICK, |b| b.starts_with(b"DDS ")),
    kind("a QOI picture", MAGICK, |b| b.starts_with(b"qoif")),
    kind("a farbfeld picture", MAGICK, |b| b.starts_with(b"farbfeld")),
    kind("a DPX picture", MAGICK, |b| b.starts_with(b"SDPX") || b.starts_with(b"XPDS")),
    kind("an SGI picture", MAGICK, |b| matches!(b, [1, 0xda, 0 | 1, 1 | 2, ..])),
    kind("a PCX picture", MAGICK, |b| matches!(b, [0x0a, 0..=5, 1, 1 | 2 | 4 | 8, ..])),
    kind("an XPM picture", MAGICK, |b| b.starts_with(b"/* XPM */")),
    kind("a FLIF picture", "convert it with: flif -d FILE out.png", |b| b.starts_with(b"FLIF")),
    kind("a BPG picture", "convert it with: bpgdec -o out.png FILE", |b| b.starts_with(b"BPG\xfb")),
    // Videos.
    kind("a video (MKV or WebM)", VIDEO, |b| b.starts_with(b"\x1a\x45\xdf\xa3")),
    kind("a video (AVI)", VIDEO, |b| b.starts_with(b"RIFF") && b.get(8..12) == Some(b"AVI ")),
    kind("a video (MPEG)", VIDEO, |b| matches!(b, [0, 0, 1, 0xb3 | 0xba, ..]) || b.first() == Some(&0x47) && b.get(188) == Some(&0x47)),
    kind("a video (WMV)", VIDEO, |b| b.starts_with(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")),
    kind("a video (FLV)", VIDEO, |b| b.starts_with(b"FLV\x01")),
    kind("a video (Ogg)", VIDEO, |b| b.starts_with(b"OggS")),
    kind("a y4m video", "pipe it: unet run - -m MODEL -o out.y4m < FILE", |b| b.starts_with(b"YUV4MPEG2")),
    // Files that came instead of a picture.
    kind("an archive", UNPACK, |b| b.starts_with(b"PK\x03\x04") || signature::archive(b).is_some()),
    kind("a Git LFS pointer", "the picture itself is not here; fetch it with: git lfs pull", signature::is_lfs_pointer),
    kind("a web page", AGAIN, signature::is_web_page),
    kind("a text file", "give the name of a picture", |b| signature::text(b).is_some()),
];

const fn kind(name: &'static str, remedy: &'static str, is: fn(&[u8]) -> bool) -> Kind {
    Kind { name, remedy, is }
}

/// A line about a file with these first bytes, if it is of a kind that is known but not read.
pub(super) fn explain(head: &[u8]) -> Option<String> {
    line(KINDS, head)
}

/// The same for files that lie beside pictures, where texts are no surprise.
pub(super) fn explain_beside(head: &[u8]) -> Option<String> {
    line(&KINDS[..KINDS.len() - 1], head)
}

fn line(kinds: &[Kind], head: &[u8]) -> Option<String> {
    let Kind { name, remedy, .. } = kinds.iter().find(|kind| (kind.is)(head))?;
    Some(format!("this is {name}, which cannot be read; {remedy}"))
}

/// The kinds and what to do with each, for the documents.
#[cfg(test)]
pub(crate) fn refused() -> impl Iterator<Item = (&'static str, &'static str)> {
    KINDS.iter().map(|kind| (kind.name, kind.remedy))
}

/// The line about camera raw files that are TIFF files.
pub(super) fn camera_raw() -> String {
    format!("this is a camera raw file, which cannot be read; {RAW}")
}

/// Extensions of camera raw files that are TIFF files.
pub(super) const CAMERA_RAW: [&str; 14] =
    ["dng", "nef", "nrw", "arw", "sr2", "srf", "pef", "srw", "3fr", "iiq", "erf", "kdc", "mef", "cr2"];

/// Whether a box file (ISO/IEC 14496-12) is of one of these brands.
fn has_brand(head: &[u8], brands: &[&[u8; 4]]) -> bool {
    if head.get(4..8) != Some(b"ftyp") {
        return false;
    }
    let length = head.first_chunk().map_or(0, |&length| u32::from_be_bytes(length) as usize);
    let listed = head.get(8..length.clamp(12, head.len().max(12))).unwrap_or_default();
    // The version after the first brand is no brand.
    let names = listed.chunks_exact(4).enumerate().filter(|(i, _)| *i != 1);
    names.into_iter().any(|(_, name)| brands.iter().any(|brand| name == *brand))
}

fn is_tiff(head: &[u8]) -> bool {
    head.starts_with(b"II*\0") || head.starts_with(b"MM\0*")
}

/// DICOM part 10: `DICM` after 128 bytes. Old files begin with their first element: group 2 or 8, a type of two
/// capitals or a short length.
fn is_dicom(head: &[u8]) -> bool {
    let bare =
        matches!(head, [2 | 8, 0, 0..=0x20, 0, a, b, ..] if a.is_ascii_uppercase() && b.is_ascii_uppercase());
    bare || signature::is_dicom(head)
}

/// Whether a text is markup with this opening tag, after declarations and comments.
fn is_markup(head: &[u8], tag: &str) -> bool {
    let text = String::from_utf8_lossy(head).to_lowercase();
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    text.starts_with('<') && text.contains(tag)
}

#[cfg(test)]
mod tests {
    use super::{KINDS, explain};

    /// The first bytes of files, and a word of the line about each.
    const FILES: &[(&[u8], &str)] = &[
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heif-convert"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heif-convert"),
        (b"\0\0\0\x1cftypheix\0\0\0\0mif1heixmiaf", "heif-convert"),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B", "avifdec"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "avifdec"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "CR3"),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"\xff\x0a\xfa\x1f", "djxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "djxl"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "MP4"),
        (b"\0\0\0\x14ftypqt  \0\0\x02\0qt  ", "MP4 or MOV"),
        (b"\0\0\x12\x34moov\0\0\0\x6cmvhd", "ffmpeg"),
        (b"II\xbc\x01\x20\0\0\0", "JPEG XR"),
        (b"II*\0\x10\0\0\0CR\x02\0", "CR2"),
        (b"IIRO\x08\0\0\0", "ORF"),
        (b"IIU\0\x18\0\0\0", "RW2"),
        (b"FUJIFILMCCD-RAW 0201", "RAF"),
        (b"FOVb\0\0\x02\0", "X3F"),
        (b"\0MRM\0\x01", "MRW"),
        (b"II\x1a\0\0\0HEAPCCDR", "CRW"),
        (&dicom(), "DICOM"),
        (b"\x08\0\x05\0CS\x0a\0ISO_IR 100", "DICOM"),
        (b"\x1c\x02\0\0n+2\0\r\n\x1a\n", "NIfTI-2"),
        (b"\x93NUMPY\x01\0v\0", ".npy"),
        (b"NRRD0004\ntype: short", "NRRD"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"CDF\x01\0\0\0\0", "netCDF"),
        (&mrc(), "MRC"),
        (b"MATLAB 5.0 MAT-file, Platform", "MATLAB"),
        (b"ZISRAWFILE\0\0\0\0\0\0", "CZI"),
        (b"\xda\xce\xbe\x0a\x10\0\0\0", "ND2"),
        (b"\x70\0\0\0\x12\x34\0\0\x2a", "LIF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "rsvg-convert"),
        (b"<?xml version=\"1.0\"?>\n<!-- a drawing -->\n<svg>", "rsvg-convert"),
        (b"%PDF-1.7\n", "pdftoppm"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"AT&TFORM\0\0\0\0DJVU", "DjVu"),
        (b"8BPS\0\x01\0\0\0\0\0\0\0\x03", "PSD"),
        (b"gimp xcf v011\0", "GIMP"),
        (b"\0\0\x01\0\x01\0\x10\x10", "ICO"),
        (b"DDS \x7c\0\0\0", "DDS"),
        (b"qoif\0\0\0\x01", "QOI"),
        (b"farbfeld\0\0\0\x01", "farbfeld"),
        (b"SDPX\0\0\x08\0", "DPX"),
        (b"\x01\xda\x01\x01\0\x03", "SGI"),
        (b"\x0a\x05\x01\x08\0\0", "PCX"),
        (b"/* XPM */\nstatic char", "XPM"),
        (b"FLIFD1\x05\0", "FLIF"),
        (b"BPG\xfb\x20\0", "BPG"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0", "MKV"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (b"\0\0\x01\xba\x44\0", "MPEG"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "WMV"),
        (b"FLV\x01\x05\0\0\0\x09", "FLV"),
        (b"OggS\0\x02\0\0", "Ogg"),
        (b"YUV4MPEG2 W64 H64 F25:1\n", "unet run -"),
        (b"PK\x03\x04\x14\0", "archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html lang=en>", "web page"),
        (b"\n<html><head><title>404</title>", "web page"),
        (b"hello, this is no picture\n", "text file"),
        ("größe und farbe".as_bytes(), "text file"),
    ];

    const fn dicom() -> [u8; 132] {
        let mut head = [0; 132];
        (head[128], head[129], head[130], head[131]) = (b'D', b'I', b'C', b'M');
        head
    }

    const fn mrc() -> [u8; 212] {
        let mut head = [0; 212];
        (head[0], head[208], head[209], head[210], head[211]) = (64, b'M', b'A', b'P', b' ');
        head
    }

    #[test]
    fn files_of_other_formats_are_named_with_what_to_do() {
        for (head, word) in FILES {
            let line = explain(head).unwrap_or_else(|| panic!("{word} is not recognised"));
            assert!(line.contains(word) && line.contains("; ") && !line.contains('\n'), "{word}: {line}");
        }
        let named = |kind: &super::Kind| {
            FILES.iter().any(|(head, _)| explain(head).is_some_and(|l| l.contains(kind.name)))
        };
        KINDS.iter().for_each(|kind| assert!(named(kind), "no file of the test is {}", kind.name));
    }

    #[test]
    fn pictures_that_are_read_and_noise_are_of_no_such_kind() {
        let noise: Vec<u8> = (0..=255u8).map(|i| i.wrapping_mul(97).wrapping_add(131)).collect();
        let read: [&[u8]; 8] = [
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xe0",
            b"II*\0\x08\0\0\0",
            b"MM\0*\0\0\0\x08",
            b"BM\x36\0\0\0",
            b"RIFF\0\0\0\0WEBPVP8 ",
            b"\x76\x2f\x31\x01",
            &noise,
        ];
        read.iter().for_each(|head| assert_eq!(explain(head), None, "{head:?}"));
    }
}

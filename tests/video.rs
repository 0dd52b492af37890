//! Streams of frames: raw samples and grey are exact, colours are within a step, damaged streams give a one-line error.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use std::io::{Read, repeat};
use unet_wgpu::image::{Depth, FrameReader, FrameWriter, Picture, Stream, StreamFormat};
use unet_wgpu::{Random, Result, Shape, Tensor};

/// A reader that returns 1, 2, ... 7 bytes at a time, as a pipe may.
struct Odd<'a>(&'a [u8], usize);

impl Read for Odd<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 % 7 + 1;
        let count = self.1.min(bytes.len());
        self.0.read(&mut bytes[..count])
    }
}

/// The frames of a complete stream.
fn frames(
    bytes: &[u8],
    format: Option<StreamFormat>,
    size: Option<(usize, usize)>,
) -> (Stream, Vec<Picture>) {
    let reader = FrameReader::new(Odd(bytes, 0), format, size).unwrap();
    (reader.stream().clone(), reader.map(Result::unwrap).collect())
}

fn written(stream: impl Into<Stream>, frames: &[Picture]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = FrameWriter::new(&mut bytes, stream);
    frames.iter().for_each(|frame| writer.write(frame).unwrap());
    writer.flush().unwrap();
    bytes
}

/// A y4m stream of one frame.
fn y4m(header: &str, samples: &[u8]) -> Vec<u8> {
    [format!("YUV4MPEG2 {header}\nFRAME\n").as_bytes(), samples].concat()
}

fn one(header: &str, samples: &[u8]) -> Picture {
    let (_, frames) = frames(&y4m(header, samples), None, None);
    assert_eq!(frames.len(), 1, "{header}");
    frames[0].clone()
}

/// The error for a stream.
fn refusal(bytes: impl Read, format: Option<StreamFormat>, size: Option<(usize, usize)>) -> String {
    let error = match FrameReader::new(bytes, format, size) {
        Err(error) => error,
        Ok(reader) => reader.last().unwrap().unwrap_err(),
    };
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 300, "{line}");
    line
}

fn noise(length: usize) -> Vec<u8> {
    let mut random = Random::new(length as u64);
    (0..length).map(|_| random.below(256) as u8).collect()
}

#[test]
fn raw_samples_come_back_as_they_were() {
    for (format, name, bytes, channels, depth) in [
        (StreamFormat::Rgb24, "rgb24", 3, 3, Depth::Eight),
        (StreamFormat::Gray8, "gray8", 1, 1, Depth::Eight),
        (StreamFormat::Gray16le, "gray16le", 2, 1, Depth::Sixteen),
    ] {
        let stream = noise(3 * 7 * 5 * bytes);
        let (kind, pictures) = frames(&stream, Some(format), Some((7, 5)));
        assert_eq!((pictures.len(), kind.is_grey()), (3, channels == 1));
        let picture = &pictures[1];
        assert_eq!((picture.width(), picture.height(), picture.channels()), (7, 5, channels));
        assert_eq!(picture.depth(), depth);
        assert_eq!(written(format, &pictures), stream, "{name}");
        assert_eq!((name.parse::<StreamFormat>().unwrap(), format.to_string()), (format, name.to_string()));
    }
    let (_, rgb) = frames(&[1, 2, 3, 4, 5, 6], Some(StreamFormat::Rgb24), Some((2, 1)));
    assert_eq!((rgb[0].rgb(0, 0), rgb[0].rgb(1, 0)), ([1, 2, 3], [4, 5, 6]));
    let (_, deep) = frames(&[1, 2], Some(StreamFormat::Gray16le), Some((1, 1)));
    assert_eq!(deep[0].planes().data(), [513.0 / 257.0]);
    assert_eq!("gray".parse::<StreamFormat>().unwrap(), StreamFormat::Gray8);
    assert!("yuv420p".parse::<StreamFormat>().unwrap_err().to_string().contains("gray16le"));
    // A grey result is written to a colour stream with three equal channels.
    assert_eq!(written(StreamFormat::Rgb24, &deep), [2, 2, 2]);
}

#[test]
fn colours_are_those_of_bt_601() {
    // The colour bars at full amplitude, ITU-R BT.601 in 8 bits.
    for (yuv, rgb) in [
        ([16, 128, 128], [0, 0, 0]),
        ([235, 128, 128], [255, 255, 255]),
        ([81, 90, 240], [255, 0, 0]),
        ([145, 54, 34], [0, 255, 0]),
        ([41, 240, 110], [0, 0, 255]),
        ([126, 128, 128], [128, 128, 128]),
        // Beyond black and white.
        ([1, 128, 128], [0, 0, 0]),
        ([254, 128, 128], [255, 255, 255]),
    ] {
        let got = one("W1 H1 C444", &yuv).rgb(0, 0);
        assert!(got.iter().zip(rgb).all(|(&got, want)| got.abs_diff(want) <= 1), "{yuv:?}: {got:?}");
        let deep: Vec<u8> = yuv.iter().flat_map(|&v| (u16::from(v) << 2).to_le_bytes()).collect();
        let deep = one("W1 H1 C444p10 XYSCSS=444P10", &deep);
        assert_eq!((deep.rgb(0, 0), deep.depth()), (got, Depth::Sixteen), "{yuv:?}");
    }
    // As in JPEG, all values are used.
    let full = one("W1 H1 C444 XCOLORRANGE=FULL", &[254, 128, 128]);
    assert_eq!(full.rgb(0, 0), [254; 3]);
    assert_eq!(one("W1 H1 Cmono", &[254]).rgb(0, 0), [254; 3]);
}

#[test]
fn colours_come_back_within_a_step() {
    let mut random = Random::new(3);
    let colors = Tensor::from_fn(Shape::new(1, 3, 9, 11), |_| random.below(256) as f32);
    let picture = Picture::new(colors, Depth::Eight).unwrap();
    for header in [
        "C444",
        "C444 XCOLORRANGE=FULL",
        "C444p9",
        "C444p10",
        "C444p12",
        "C444p14",
        "C444p16 XCOLORRANGE=FULL",
    ] {
        let empty = y4m(&format!("W1 H1 {header}"), &[0; 6]);
        let stream = FrameReader::new(&empty[..], None, None).unwrap().stream().clone();
        let first = written(stream, std::slice::from_ref(&picture));
        let (stream, pictures) = frames(&first, None, None);
        for (got, want) in pictures[0].planes().data().iter().zip(picture.planes().data()) {
            assert!((got - want).abs() <= 2.0, "{header}: {got} {want}");
        }
        let again = written(stream, &pictures);
        let wide = header.contains('p');
        let number = |bytes: &[u8], i: usize| match wide {
            true => i32::from(u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]])),
            false => i32::from(bytes[i]),
        };
        let samples = 9 * 11 * 3 * if wide { 2 } else { 1 };
        let [first, again] = [&first, &again].map(|bytes| &bytes[bytes.len() - samples..]);
        for i in 0..9 * 11 * 3 {
            assert!((number(first, i) - number(again, i)).abs() <= 1, "{header}, sample {i}");
        }
    }
}

#[test]
fn grey_comes_back_as_it_was() {
    let all: Vec<u8> = (0..=255).collect();
    let stream = y4m("W16 H16 F30:1 Cmono", &all);
    let (kind, pictures) = frames(&stream, None, None);
    assert!(kind.is_grey());
    assert!(pictures[0].planes().data().iter().zip(0..).all(|(&v, i)| v == i as f32));
    assert_eq!(written(kind, &pictures), stream);
    for (space, bits) in [("mono9", 9), ("mono10", 10), ("mono12", 12), ("mono16", 16)] {
        let values: Vec<u8> = (0..1 << bits).step_by(7).flat_map(|v: u32| (v as u16).to_le_bytes()).collect();
        let stream = y4m(&format!("W{} H1 C{space}", values.len() / 2), &values);
        let (kind, pictures) = frames(&stream, None, None);
        assert_eq!(pictures[0].depth(), Depth::Sixteen);
        assert_eq!(written(kind, &pictures), stream, "{space}");
    }
}

/// The blue difference of a pixel, in 8-bit steps around 128.
fn blue(picture: &Picture, x: usize, y: usize) -> f32 {
    let at = |c| picture.planes().plane(0, c)[y * picture.width() + x];
    let luma = 0.299 * at(0) + 0.587 * at(1) + 0.114 * at(2);
    (at(2) - luma) / (2.0 * (1.0 - 0.114)) * 224.0 / 255.0 + 128.0
}

#[test]
fn colour_differences_stand_where_the_colour_space_says() {
    let luma = [126; 8 * 2];
    let between: [f32; 8] = [100.0, 105.0, 115.0, 125.0, 135.0, 145.0, 155.0, 160.0];
    let first: [f32; 8] = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 160.0];
    for (space, rows, across) in [
        ("420jpeg", 1, between),
        ("420", 1, between),
        ("420mpeg2", 1, first),
        ("420paldv", 1, first),
        ("422", 2, first),
    ] {
        let chroma = [[100, 120, 140, 160].repeat(rows), [128; 4].repeat(rows)].concat();
        let picture = one(&format!("W8 H2 C{space}"), &[luma.as_slice(), &chroma].concat());
        for (x, want) in across.into_iter().enumerate() {
            for y in 0..2 {
                assert!((blue(&picture, x, y) - want).abs() < 0.01, "{space} at {x}, {y}");
            }
        }
    }
    // Vertically, where the samples of two rows differ.
    for (space, down) in [
        ("420mpeg2", [100.0, 110.0, 130.0, 140.0]),
        ("420paldv", [100.0, 120.0, 140.0, 140.0]),
        ("422", [100.0, 120.0, 140.0, 160.0]),
    ] {
        let blue_plane = if space == "422" { vec![100, 120, 140, 160] } else { vec![100, 140] };
        let samples = [vec![126; 8], blue_plane.clone(), vec![128; blue_plane.len()]].concat();
        let picture = one(&format!("W2 H4 C{space}"), &samples);
        for (y, want) in down.into_iter().enumerate() {
            assert!((blue(&picture, 0, y) - want).abs() < 0.01, "{space} in row {y}");
        }
    }
}

#[test]
fn colour_differences_are_averaged_on_the_way_out() {
    // One blue column, the second, among grey ones.
    let planes =
        Tensor::from_fn(Shape::new(1, 3, 2, 6), |i| if (i / 12, i % 6) == (2, 1) { 200.0 } else { 100.0 });
    let picture = Picture::new(planes, Depth::Eight).unwrap();
    let step: f32 = 100.0 / 2.0 * 224.0 / 255.0;
    for (space, shares) in
        [("420jpeg", [0.5, 0.0, 0.0]), ("420mpeg2", [0.25, 0.25, 0.0]), ("422", [0.25, 0.25, 0.0])]
    {
        let header = y4m(&format!("W6 H2 C{space}"), &[]);
        let stream = FrameReader::new(&header[..], None, None).unwrap().stream().clone();
        let bytes = written(stream, std::slice::from_ref(&picture));
        let luma = bytes.windows(6).position(|part| part == b"FRAME\n").unwrap() + 6;
        let got = &bytes[luma + 12..];
        for (&got, share) in got.iter().zip(shares) {
            assert!((f32::from(got) - 128.0 - share * step).abs() <= 0.51, "{space}: {got}");
        }
    }
}

#[test]
fn odd_sizes_keep_a_flat_colour() {
    for space in ["420jpeg", "420mpeg2", "420paldv", "422", "420p10", "422p16"] {
        for (w, h) in [(1, 1), (5, 3), (2, 7)] {
            let color = Tensor::from_fn(Shape::new(1, 3, h, w), |i| [200.0, 100.0, 50.0][i / (w * h)]);
            let flat = Picture::new(color, Depth::Eight).unwrap();
            let header = y4m(&format!("W{w} H{h} C{space}"), &[]);
            let stream = FrameReader::new(&header[..], None, None).unwrap().stream().clone();
            let (_, pictures) = frames(&written(stream, &[flat.clone(), flat]), None, None);
            assert_eq!(pictures.len(), 2, "{space} {w}x{h}");
            for i in 0..w * h {
                let [r, g, b] = pictures[1].rgb(i % w, i / w);
                assert!(
                    r.abs_diff(200) <= 2 && g.abs_diff(100) <= 2 && b.abs_diff(50) <= 2,
                    "{space} {w}x{h}"
                );
            }
        }
    }
}

#[test]
fn a_stream_is_made_like_the_one_that_was_read() {
    let fields = "F30000:1001 Ip A4:3 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED Xmine";
    let stream = y4m(&format!("W4 H2 {fields}"), &[[90; 8].as_slice(), &[128; 4]].concat());
    let (kind, pictures) = frames(&stream, None, None);
    assert_eq!(written(kind.clone(), &pictures), stream);
    // Twice as large, as from super-resolution networks; grey, as masks are.
    let large = Picture::new(Tensor::zeros(Shape::new(1, 1, 4, 8)), Depth::Float).unwrap();
    let bytes = written(kind, &[large]);
    let head = format!("YUV4MPEG2 W8 H4 {fields}\nFRAME\n");
    assert!(bytes.starts_with(head.as_bytes()), "{}", String::from_utf8_lossy(&bytes));
    assert_eq!(bytes[head.len()..], [[16; 32].as_slice(), &[128; 16]].concat());

    let made = written(StreamFormat::Y4m, &pictures);
    assert!(made.starts_with(b"YUV4MPEG2 W4 H2 F25:1 Ip A1:1 C444\nFRAME\n"));
    assert_eq!(frames(&made, Some(StreamFormat::Y4m), None).1[0].rgb(0, 0), pictures[0].rgb(0, 0));
    // Parameters of a frame, and a header without a colour space.
    let plain = [b"YUV4MPEG2 H1 W1\nFRAME Ip\n".as_slice(), &[235, 128, 128]].concat();
    assert_eq!(frames(&plain, None, None).1[0].rgb(0, 0), [255; 3]);
}

#[test]
fn frames_that_do_not_fit_the_stream_are_refused() {
    let frame =
        |channels, h, w| Picture::new(Tensor::zeros(Shape::new(1, channels, h, w)), Depth::Eight).unwrap();
    let mut writer = FrameWriter::new(Vec::new(), StreamFormat::Gray8);
    let error = writer.write(&frame(3, 2, 2)).unwrap_err().to_string();
    assert!(error.contains("grey") && !error.contains('\n'), "{error}");
    writer.write(&frame(1, 2, 2)).unwrap();
    let error = writer.write(&frame(1, 2, 3)).unwrap_err().to_string();
    assert!(error.contains("2x2 pixels") && error.contains("3x2"), "{error}");
}

#[test]
fn cut_streams_give_the_frames_before() {
    let raw = noise(2 * 12 + 5);
    let whole = y4m("W2 H2 C444", &[7; 12]);
    let twice = [&whole[..], b"FRAME\n", &[8; 12]].concat();
    let inside = [&twice[..], b"FRAME\n", &[9; 5]].concat();
    for (bytes, format, size) in [(&raw, Some(StreamFormat::Rgb24), Some((2, 2))), (&inside, None, None)] {
        let mut reader = FrameReader::new(Odd(bytes, 0), format, size).unwrap();
        assert!(reader.next().unwrap().is_ok() && reader.next().unwrap().is_ok());
        let error = reader.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("frame 3") && error.contains("5 of 12 bytes"), "{error}");
        assert!(reader.next().is_none());
    }
    let line = |bytes: &[u8]| refusal(bytes, None, None);
    assert!(line(&[&twice[..], b"FRA"].concat()).contains("does not end"));
    assert!(line(&[&twice[..], b"JUNK\n"].concat()).contains("frame 3 does not begin with FRAME"));
    assert!(line(b"YUV4MPEG2 W2 H2\n").contains("no frames"));
    assert!(line(b"").contains("empty"));
    assert!(refusal(&b""[..], Some(StreamFormat::Gray8), Some((2, 2))).contains("empty"));
}

#[test]
fn hostile_headers_are_one_line() {
    let line = |header: &str| refusal(y4m(header, &[0; 100]).as_slice(), None, None);
    for (header, part) in [
        ("W1000000000 H1000000000", "32768"),
        ("W30000 H30000 C444p16", "512 MiB"),
        ("W0 H5", "0x5"),
        ("H5", "width and height"),
        ("W5", "width and height"),
        ("W H", "width and height"),
        ("W-5 H5", "width and height"),
        ("W99999999999999999999999 H5", "width and height"),
        ("W18446744073709551615 H18446744073709551615", "32768"),
        ("W5 H5 It", "interlaced"),
        ("W5 H5 Im", "interlaced"),
        ("W5 H5 C411", "C411"),
        ("W5 H5 C444alpha", "C444alpha"),
        ("W5 H5 C420p99", "C420p99"),
        ("W5 H5 C420jpegp10", "C420jpegp10"),
        ("W5 H5 C", "colour space"),
        ("W5 H5 Cé", "colour space"),
        ("W5 H5 Cmono7", "Cmono7"),
        // As large as allowed, and no data.
        ("W20000 H20000 Cmono", "frame 1 is cut off"),
    ] {
        let got = line(header);
        assert!(got.contains(part), "{header}: {got}");
    }
    let refused = |bytes: &[u8]| refusal(bytes, None, None);
    assert!(refused(b"\x89PNG\r\n\x1a\n and so on").contains("not y4m"));
    assert!(refused(b"YUV4").contains("not y4m"));
    assert!(refused(b"YUV4MPEG2 W5 H5\xff\n").contains("not text"));
    assert!(refused(b"YUV4MPEG2").contains("width and height"));
    // One that never ends.
    assert!(refusal(b"YUV4MPEG2 W5".chain(repeat(b'5')), None, None).contains("does not end"));
    assert!(refusal(repeat(0), None, None).contains("not y4m"));

    let raw = |format, size| refusal(&[1, 2, 3][..], format, size);
    assert!(raw(Some(StreamFormat::Rgb24), None).contains("give width and height"));
    assert!(raw(None, Some((5, 5))).contains("kind of stream"));
    assert!(raw(Some(StreamFormat::Y4m), Some((5, 5))).contains("drop the size"));
    assert!(raw(Some(StreamFormat::Rgb24), Some((usize::MAX, 2))).contains("32768"));
    assert!(raw(Some(StreamFormat::Rgb24), Some((0, 2))).contains("0x2"));
}

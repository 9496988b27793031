//! Finds the codec libraries of the features that are on, and compiles the C
//! that FFmpeg needs (`src/audio/codec/ffmpeg.c` says why).

fn main() {
    #[cfg(any(feature = "g722", feature = "g7231"))]
    {
        println!("cargo::rerun-if-changed=src/audio/codec/ffmpeg.c");
        let mut build = cc::Build::new();
        for library in ["libavcodec", "libavutil"] {
            build.includes(found(library, "libavcodec-dev").include_paths);
        }
        build
            .file("src/audio/codec/ffmpeg.c")
            .compile("sidestep_ffmpeg");
    }
    #[cfg(feature = "g729")]
    found("libbcg729", "libbcg729-dev");
    #[cfg(feature = "opus")]
    found("opus", "libopus-dev");
}

#[cfg(any(
    feature = "g722",
    feature = "g7231",
    feature = "g729",
    feature = "opus"
))]
fn found(library: &str, package: &str) -> pkg_config::Library {
    match pkg_config::probe_library(library) {
        Ok(library) => library,
        Err(error) => {
            println!("cargo::error={library} is missing; on Debian: apt-get install {package}");
            eprintln!("{error}");
            std::process::exit(1)
        }
    }
}

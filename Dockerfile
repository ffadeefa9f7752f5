# The same image in two ways:
#
#   docker build -t tallygate .                               compiles the gateway
#   docker build -t tallygate --target image-from-binary .    takes dist/amd64/tallygate and dist/arm64/tallygate
#                                                             as they are, and pulls no base image
#
# A release pins the compiler's image: --build-arg RUST_DIGEST=@sha256:...
ARG RUST_IMAGE=rust:1.95.0-bookworm
ARG RUST_DIGEST=

# === What both have: everything but the binary ===

FROM scratch AS base
ARG VERSION=0.0.0-dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Tallygate" \
      org.opencontainers.image.description="An aggregating push gateway for Prometheus: pushes add up, exactly." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The Tallygate authors" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY LICENSE /LICENSE
# A number, since a kubelet cannot tell of a name that it is not root's; before WORKDIR, which makes the folder its own.
USER 65532:65532
WORKDIR /data
ENV TALLYGATE__STORE__PATH=/data
EXPOSE 9091 9092
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/tallygate", "healthcheck"]
ENTRYPOINT ["/tallygate"]

FROM base AS image-from-binary
ARG TARGETARCH
COPY --chmod=755 dist/${TARGETARCH}/tallygate /tallygate

# === The compiler, on the builder's own architecture ===

FROM --platform=$BUILDPLATFORM ${RUST_IMAGE}${RUST_DIGEST} AS build
ARG TARGETARCH
WORKDIR /src

# The C in our dependencies needs a compiler for the target, the linking needs none: Rust brings musl and a linker.
# hadolint ignore=DL3008
RUN set -eu; \
    case "$TARGETARCH" in \
        amd64) arch=x86_64 package=gcc-x86-64-linux-gnu libc=libc6-dev-amd64-cross ;; \
        arm64) arch=aarch64 package=gcc-aarch64-linux-gnu libc=libc6-dev-arm64-cross ;; \
        *) echo "no build for $TARGETARCH" >&2; exit 1 ;; \
    esac; \
    cc=$arch-linux-gnu-gcc; \
    if [ "$TARGETARCH" = "$(dpkg --print-architecture)" ]; then package=musl-tools libc='' cc=musl-gcc; fi; \
    apt-get update; \
    apt-get install -y --no-install-recommends $package $libc; \
    rm -rf /var/lib/apt/lists/*; \
    target=$arch-unknown-linux-musl; \
    rustup target add "$target"; \
    printf '%s\n' \
        '[build]' "target = \"$target\"" \
        "[target.$target]" 'linker = "rust-lld"' 'rustflags = ["-C", "link-self-contained=yes"]' \
        '[env]' "CC_${arch}_unknown_linux_musl = \"$cc\"" >"$CARGO_HOME/config.toml"

# The dependencies are a layer of their own, which lasts until Cargo.lock changes. Benches and tests are not in the
# build context, so the manifest must not name them.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[\(bench\|test\|example\)\]\]/,/^$/d' Cargo.toml && \
    mkdir src && echo 'fn main() {}' >src/main.rs && touch src/lib.rs && \
    cargo build --release --locked

COPY . .
RUN sed -i '/^\[\[\(bench\|test\|example\)\]\]/,/^$/d' Cargo.toml && \
    touch src/main.rs src/lib.rs && \
    cargo build --release --locked && \
    cp target/*/release/tallygate /tallygate

FROM base AS image
COPY --from=build /tallygate /tallygate

# Built by `make image`, which stages the context: the static binary, the CA
# roots and two empty directories. Time zones are inside the binary.
FROM scratch

LABEL org.opencontainers.image.title="faena" \
      org.opencontainers.image.description="Durable background work" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/faena-dev/faena"

COPY rootfs/ /
# Owned by the user below, so that a fresh volume mounted here is too.
COPY --chown=65532:65532 data/ /data/

# Direct commands keep their state under the home directory; serve, and what looks
# for it from inside, in FAENA_DATA.
ENV HOME=/data FAENA_DATA=/data
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8420

ENTRYPOINT ["/faena"]

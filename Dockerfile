# pidleash as an image of one file. It is meant to be copied out of:
#
#     COPY --from=pidleash /pidleash /pidleash
#     ENTRYPOINT ["/pidleash", "-pidfile", "/run/app.pid", "/app"]
#
# and it runs by itself, with PROGRAM from a volume.

# Any image with Go and make will do.
ARG BUILD_IMAGE=golang:1.26

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# There is no .git here to ask:
#     podman build --build-arg VERSION=1.0.0 --build-arg COMMIT=$(git rev-parse HEAD) .
ARG VERSION=
ARG COMMIT=
RUN make build OUT=/out/pidleash VERSION="${VERSION}" COMMIT="${COMMIT}"

FROM scratch
COPY --from=build /out/pidleash /pidleash
# Numeric: there is no /etc/passwd here, and Kubernetes' runAsNonRoot asks for
# a number.
USER 65532:65532
# The exec form, so that pidleash is process 1, and no "--": what follows may
# begin with options of pidleash.
ENTRYPOINT ["/pidleash"]

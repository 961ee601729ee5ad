# The commands of fairway. `make` alone builds.

PREFIX  ?= /opt/cni
DESTDIR ?=
# Where the commands go, and their man pages and completions.
BINDIR   ?= /usr/local/bin
SHAREDIR ?= /usr/local/share
UNITDIR  ?= /usr/local/lib/systemd/system
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
PLUGINS := bridge host macvlan none overlay-vxlan host-local portmap firewall tuning bandwidth static ptp sbr
COMMANDS := fairway fairwayd
COMPLETIONS := bash-completion/completions zsh/site-functions fish/vendor_completions.d
TOOLS   := $(CURDIR)/.tools
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=CI,NO_COLOR)

# Static and stripped: a plugin runs on hosts of every libc, and its start-up is part of every ADD.
export CGO_ENABLED = 0
LDFLAGS := -s -w -X github.com/fairway-cni/fairway/pkg/attach.Version=$(VERSION) -X main.version=$(VERSION)

.PHONY: build install demo test test-kernels test-upstream bench scale lint tools clean

build:
	@mkdir -p bin
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./plugins/,$(PLUGINS)) $(addprefix ./cmd/,$(COMMANDS))
	@ln -sf none bin/loopback

install: build
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(addprefix bin/,$(PLUGINS)) $(DESTDIR)$(PREFIX)/bin/
	ln -sf none $(DESTDIR)$(PREFIX)/bin/loopback
	install -d $(DESTDIR)$(BINDIR) $(addprefix $(DESTDIR)$(SHAREDIR)/,$(COMPLETIONS))
	install -m 0755 $(addprefix bin/,$(COMMANDS)) $(DESTDIR)$(BINDIR)/
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/local/bin|$(BINDIR)|' packaging/fairwayd.service >$(DESTDIR)$(UNITDIR)/fairwayd.service
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null)} bin/fairway man $(DESTDIR)$(SHAREDIR)/man/man1
	bin/fairway completion bash >$(DESTDIR)$(SHAREDIR)/bash-completion/completions/fairway
	bin/fairway completion zsh >$(DESTDIR)$(SHAREDIR)/zsh/site-functions/_fairway
	bin/fairway completion fish >$(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d/fairway.fish

demo: build
	@command -v busybox >/dev/null && command -v ip >/dev/null && command -v etcd >/dev/null || scripts/install-test-tools
	@go build -o bin/tools/demo ./scripts/demo
	@$(SUDO) bin/tools/demo

tools:
	@scripts/install-test-tools

# Test binaries are built by this account and run as root, so that Go is found and the caches stay one's own.
test: build lint
	scripts/test

# On Debian's kernels in virtual machines, as this account.
test-kernels: build tools
	scripts/test-kernels

# Upstream's own tests against our plugins, ten minutes.
test-upstream: build tools
	@go build -o bin/tools/upstreamtests ./scripts/upstreamtests
	@$(SUDO) env PATH="$$PATH" bin/tools/upstreamtests -ours bin

bench: build tools
	@go build -o bin/tools/bench ./scripts/bench
	@$(SUDO) bin/tools/bench -ours bin -upstream $(TOOLS)

scale: build tools
	@go build -o bin/tools/scale ./scripts/scale
	@$(SUDO) bin/tools/scale

lint: tools
	gofmt -l . | (! grep .)
	go vet ./...
	$(TOOLS)/golangci-lint run

clean:
	rm -rf bin

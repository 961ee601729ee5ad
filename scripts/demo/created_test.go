package main

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCreatedObjects(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	logger.Debug("created", "namespace", "host", "object", "ip link add br0 type bridge")
	logger.Warn("ipMasqBackend=iptables: nftables is used")
	logger.Debug("created", "namespace", "host", "object", `nft add set inet t s && nft add rule inet t c log prefix "x=1 "`)
	logger.Debug("created", "namespace", "container", "object", "up")

	want := []object{
		{"host", "ip link add br0 type bridge"},
		{"host", "nft add set inet t s"},
		{"host", `nft add rule inet t c log prefix "x=1 "`},
		{"container", "up"},
	}
	if diff := cmp.Diff(want, createdObjects(log.String()), cmp.AllowUnexported(object{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAttributesOfAnotherFormat(t *testing.T) {
	if got := createdObjects("panic: no log at all\n\n"); got != nil {
		t.Errorf("got %v, want none", got)
	}
}

package ports_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/golden"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestLayout: the table as nft prints it, which can be read back, and whose version is a hash of it.
func TestLayout(t *testing.T) {
	testnet.NewHost(t)
	p := at("a", "10.1.0.2", tcp(80, 80))
	statetest.Apply(t, statetest.Open(t, nil), p)
	statetest.Removes(t, nil, p)
	shown := testnet.Sh(t, "nft", "list", "table", "inet", "fairway_ports") + "\n"
	version := ports.Version()
	plain := strings.ReplaceAll(shown, `"`+version+" ", `"`)
	sum := sha256.Sum256([]byte(plain))
	if want := hex.EncodeToString(sum[:4]); version != want {
		t.Errorf("the rules have changed: version is %s, make it %s", version, want)
	}
	golden.Compare(t, "layout.golden", plain)
	file := t.TempDir() + "/ruleset"
	if err := os.WriteFile(file, []byte(shown), 0o644); err != nil {
		t.Fatal(err)
	}
	testnet.Sh(t, "nft", "flush", "ruleset")
	testnet.Sh(t, "nft", "-f", file)
	statetest.Apply(t, statetest.Open(t, nil), p)
	statetest.Verifies(t, nil, p)
}

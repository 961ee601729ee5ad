package plugins

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// delegate is an IPAM plugin of the test: it records its calls, and answers with the file of the verb if there is one.
// A file VERB.error is printed by a call that fails. It also looks for links of the container that are up.
type delegate struct{ dir string }

const delegateScript = `#!/bin/sh
cd "$(dirname "$0")"
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS" >>calls
cat >"$CNI_COMMAND.stdin"
test ! -e "$CNI_NETNS" || nsenter --net="$CNI_NETNS" ip link show up >"$CNI_COMMAND.links"
test ! -e "$CNI_COMMAND.error" || { cat "$CNI_COMMAND.error"; exit 1; }
test ! -e "$CNI_COMMAND" || cat "$CNI_COMMAND"
`

const delegateResult = `{"cniVersion": "1.1.0", "ips": [{"address": "10.7.0.2/24", "gateway": "10.7.0.1"}]}`

// delegated gives the attachment the delegate, which hands out 10.7.0.2.
func (a attachment) delegated(t *testing.T) (attachment, delegate) {
	t.Helper()
	d := delegate{t.TempDir()}
	if err := os.WriteFile(filepath.Join(d.dir, "recorder"), []byte(delegateScript), 0o755); err != nil {
		t.Fatal(err)
	}
	d.answer(t, "ADD", delegateResult)
	return a.with("ipam", map[string]any{"type": "recorder"}).withEnv("CNI_PATH", "/nowhere:"+d.dir), d
}

func (d delegate) answer(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, file), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wantCalls compares the calls so far with the verbs wanted, and forgets them.
func (d delegate) wantCalls(t *testing.T, want ...string) {
	t.Helper()
	path := filepath.Join(d.dir, "calls")
	text, err := os.ReadFile(path)
	if err != nil && len(want) > 0 {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		got = append(got, strings.TrimSpace(line))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls of the delegate (-want +got):\n%s", diff)
	}
	_ = os.Remove(path) // there is none without calls
}

// links is what the last call of a verb found in the container.
func (d delegate) links(t *testing.T, verb string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, verb+".links"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stdin is what the last call of a verb read.
func (d delegate) stdin(t *testing.T, verb string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, verb+".stdin"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDelegateThatCannotWork: what an IPAM plugin says of ADD and of the DEL that follows is said once.
func TestDelegateThatCannotWork(t *testing.T) {
	a, d := bridgeOn(t, testnet.NewNS(t, "c")).delegated(t)
	script := "#!/bin/sh\necho '{\"cniVersion\": \"1.1.0\", \"code\": 999, \"msg\": \"the daemon is away\"}'\nexit 1\n"
	if err := os.WriteFile(filepath.Join(d.dir, "recorder"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := a.fail(t, "ADD", 999); strings.Count(got, "the daemon is away") != 1 {
		t.Error(got)
	}
}

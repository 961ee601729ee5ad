package attachment

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// plugin is one that notes how it is called, and answers ADD with a given text.
type plugin struct{ dir string }

const script = `#!/bin/sh
cd '%s' || exit 1
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >>calls
cat >"stdin.$CNI_COMMAND"
echo "$CNI_ARGS" >"args.$CNI_COMMAND"
case $CNI_COMMAND in
ADD) cat answer; exit "$(cat status)" ;;
esac
`

// newPlugin makes the plugin "noting", and a runtime with an empty cache that uses it.
func newPlugin(t *testing.T) (plugin, Runtime) {
	t.Helper()
	p := plugin{dir: t.TempDir()}
	p.write(t, "noting", fmt.Sprintf(script, p.dir))
	if err := os.Chmod(filepath.Join(p.dir, "noting"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.answers(t, `{"cniVersion": "1.1.0"}`, 0)
	return p, Runtime{Cache: t.TempDir(), Plugins: []string{p.dir}}
}

func (p plugin) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (p plugin) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// answers sets what ADD prints, and its exit status.
func (p plugin) answers(t *testing.T, text string, status int) {
	t.Helper()
	p.write(t, "answer", text)
	p.write(t, "status", fmt.Sprint(status))
}

// calls are those since the last time.
func (p plugin) calls(t *testing.T) []string {
	t.Helper()
	all := strings.Split(strings.TrimSpace(p.read(t, "calls")), "\n")
	p.write(t, "calls", "")
	return all
}

// answerWith is the result with one address and MAC for eth0 of a namespace.
func answerWith(ns *testnet.Namespace, address, mac string) string {
	return fmt.Sprintf(`{"cniVersion": "1.1.0",
		"interfaces": [{"name": "br0"}, {"name": "eth0", "mac": %q, "sandbox": %q}],
		"ips": [{"interface": 1, "address": %q, "gateway": "10.9.0.1"}]}`, mac, ns.Path, address)
}

// networkOf is a network with the plugin; more are further keys of it.
func networkOf(t *testing.T, name, more string) *libcni.NetworkConfigList {
	t.Helper()
	list, err := libcni.NetworkConfFromBytes(fmt.Appendf(nil,
		`{"cniVersion": "1.1.0", "name": %q, "plugins": [{"type": "noting"%s}]}`, name, more))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

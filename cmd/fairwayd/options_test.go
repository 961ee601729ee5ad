package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/agent"
)

func hostname() (string, error) { return "here", nil }

// config writes a file for --config.
func config(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fairwayd.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParse(t *testing.T) {
	want := agent.Defaults()
	want.Version = version
	want.Node, want.Endpoints, want.Underlay = "a", []string{"http://192.0.2.1:2379", "http://192.0.2.2:2379"}, "eth1"
	want.Audit, want.MetricsAddress = 10*time.Second, "127.0.0.1:9100"
	file := config(t, `
etcd-endpoints: [http://192.0.2.1:2379, "http://192.0.2.2:2379"]
node: a
underlay: eth0
audit-interval: 10s
metrics-address: 127.0.0.1:9100
log-level: debug
`)
	for name, args := range map[string][]string{
		"flags": {"--etcd-endpoints=http://192.0.2.1:2379,http://192.0.2.2:2379", "--node", "a", "--underlay", "eth1",
			"--audit-interval=10s", "--metrics-address=127.0.0.1:9100", "--log-level=debug"},
		"file, flags first": {"--config", file, "--underlay=eth1"},
	} {
		o, err := parse(args, hostname)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, o.agent); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if o.level != slog.LevelDebug {
			t.Errorf("%s: level %v, want debug", name, o.level)
		}
	}
}

func TestParseDefaults(t *testing.T) {
	o, err := parse([]string{"--etcd-endpoints=http://192.0.2.1:2379"}, hostname)
	if err != nil {
		t.Fatal(err)
	}
	if o.agent.Node != "here" || o.agent.NetconfDir != "/etc/cni/net.d" || o.agent.ReclaimAfter != 24*time.Hour || o.agent.TLS != nil {
		t.Errorf("got %+v", o.agent)
	}
	o, err = parse([]string{"--etcd-endpoints=https://192.0.2.1:2379"}, hostname)
	if err != nil || o.agent.TLS == nil || o.agent.TLS.Config().InsecureSkipVerify {
		t.Errorf("https: %v, %v; want verified TLS", o.agent.TLS, err)
	}
}

func TestParseRefuses(t *testing.T) {
	const endpoint = "--etcd-endpoints=http://192.0.2.1:2379"
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no endpoints":     {nil, "etcd-endpoints is missing"},
		"no URL":           {[]string{"--etcd-endpoints=192.0.2.1:2379"}, "is no URL of a member"},
		"both schemes":     {[]string{"--etcd-endpoints=https://a:1,http://b:1"}, "write all URLs with it"},
		"TLS without":      {[]string{endpoint, "--etcd-cert=a"}, "etcd-cert is given and etcd-key is not"},
		"no such file":     {[]string{"--etcd-endpoints=https://a:1", "--etcd-cacert=/nowhere"}, "etcd-cacert: open /nowhere"},
		"node":             {[]string{endpoint, "--node=a/b"}, `node name "a/b"`},
		"relative":         {[]string{endpoint, "--state-dir=x"}, "state-dir \"x\": give an absolute path"},
		"too often":        {[]string{endpoint, "--audit-interval=1ms"}, "audit-interval 1ms: give 1s or more"},
		"level":            {[]string{endpoint, "--log-level=loud"}, "log-level \"loud\""},
		"argument":         {[]string{endpoint, "x"}, "unexpected argument \"x\""},
		"unknown flag":     {[]string{"--nodes=a"}, "unknown flag: --nodes"},
		"no file":          {[]string{"--config=/nowhere"}, "config: open /nowhere"},
		"unknown key":      {[]string{"--config", config(t, "nodes: a\n")}, "there is no key \"nodes\""},
		"key of an object": {[]string{"--config", config(t, "node: {a: b}\n")}, "key node: give a text"},
		"no YAML":          {[]string{"--config", config(t, "\tx")}, "config: "},
		"key config":       {[]string{"--config", config(t, "config: x\n")}, "there is no key \"config\""},
	} {
		if _, err := parse(test.args, hostname); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
	nameless := func() (string, error) { return "", errors.New("no name") }
	if _, err := parse([]string{endpoint}, nameless); err == nil || !strings.Contains(err.Error(), "node: no name") {
		t.Errorf("without a host name: %v", err)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/show"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// answer runs a command line with something on its standard input.
func (s shell) answer(t *testing.T, input string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, err strings.Builder
	e := &env{stdin: strings.NewReader(input), stdout: &out, stderr: &err}
	status = run(e, append([]string{"--netconf-dir", s.dir, "--cni-path", testnet.PluginDir}, args...))
	return out.String(), err.String(), status
}

func TestLifeOfANetwork(t *testing.T) {
	s := newShell(t)
	if got := s.succeed(t, "create", "--subnet", "10.5.0.0/16", "--ip-range", "10.5.9.0/24", "--aux-address", "printer=10.5.9.0",
		"--aux-address", "nas=10.5.9.2", "--label", "tier=db", "-o", "com.docker.network.bridge.name=db0", "db"); got != conflist.IDOf("db")+"\n" {
		t.Errorf("create: got %q", got)
	}
	web, cache := testnet.NewNS(t, "web"), testnet.NewNS(t, "cache")
	s.succeed(t, "connect", "db", "netns:"+web.Path)
	s.succeed(t, "network", "connect", conflist.IDOf("db")[:12], "netns:"+cache.Path)

	// The addresses set aside, and the gateway, went to nobody.
	containers := s.inspected(t, "db")
	if a, b := containers[filepath.Base(web.Path)].IPv4Address, containers[filepath.Base(cache.Path)].IPv4Address; a != "10.5.9.1/16" || b != "10.5.9.3/16" {
		t.Errorf("addresses: got %s and %s, want 10.5.9.1/16 and 10.5.9.3/16", a, b)
	}
	if got := s.succeed(t, "ls", "-q", "--filter", "dangling=true"); got != "" {
		t.Errorf("dangling networks: %s", got)
	}
	s.fail(t, "fairway: network db is in use by containers "+filepath.Base(cache.Path)+", "+filepath.Base(web.Path)+": disconnect them first", "rm", "db")

	for _, ns := range []*testnet.Namespace{web, cache} {
		s.succeed(t, "disconnect", "db", "netns:"+ns.Path)
	}
	if got := s.succeed(t, "rm", "db"); got != "db\n" {
		t.Errorf("rm: got %q", got)
	}
	s.wantNothingOf(t, "db", "db0")
}

// inspected gives the containers that inspect shows.
func (s shell) inspected(t *testing.T, name string) map[string]show.Container {
	t.Helper()
	var shown []show.Network
	if err := json.Unmarshal([]byte(s.succeed(t, "inspect", name)), &shown); err != nil || len(shown) != 1 {
		t.Fatalf("inspect %s: %v, %d networks", name, err, len(shown))
	}
	return shown[0].Containers
}

// wantNothingOf looks for a network and its bridge in all places.
func (s shell) wantNothingOf(t *testing.T, name, bridge string) {
	t.Helper()
	if err := exec.Command("ip", "link", "show", bridge).Run(); err == nil {
		t.Errorf("the bridge %s is still there", bridge)
	}
	if rules, err := exec.Command("nft", "list", "ruleset").Output(); err != nil || strings.Contains(string(rules), bridge) {
		t.Errorf("nftables, %v:\n%s", err, rules)
	}
	for _, pattern := range []string{"/var/lib/cni/networks/" + name, "/var/lib/cni/networks/.fairway/" + name,
		"/var/lib/cni/results/" + name + "-*", s.dir + "/*" + name + "*"} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

func TestRm(t *testing.T) {
	s := newShell(t)
	s.network(t, "hand", `[[{"subnet": "10.5.0.0/24"}]]`)
	s.succeed(t, "create", "one")
	s.succeed(t, "create", "two")
	out, said, status := s.run("rm", "one", "none-such", "bridge", "two", "hand")
	if want := "one\ntwo\n"; out != want || status != 1 {
		t.Errorf("rm of several: got %q, status %d, want %q", out, status, want)
	}
	want := `fairway: network none-such not found
fairway: bridge is a predefined network and cannot be removed
fairway: network hand was not made by fairway: remove its file ` + s.dir + `/hand.conflist, or give --foreign
`
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if out, said, status := s.run("rm", "--force", "hand", "none-such"); out != "" || status != 1 || !strings.Contains(said, "hand was not made by fairway") {
		t.Errorf("rm --force: got %q, %q", out, said)
	}
	if got := s.succeed(t, "rm", "--force", "--foreign", "hand", "none-such"); got != "hand\n" {
		t.Errorf("rm --force --foreign: got %q", got)
	}
}

func TestRmTakesAwayWhatDeadContainersLeft(t *testing.T) {
	s := newShell(t)
	s.succeed(t, "create", "-o", "bridge=gone0", "gone")
	ns, err := testnet.New("dead")
	if err != nil {
		t.Fatal(err)
	}
	s.succeed(t, "connect", "gone", "netns:"+ns.Path)
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	// The kernel ends namespaces in turn: on a busy machine that takes longer than rm waits for.
	for end := time.Now().Add(time.Minute); testnet.Sh(t, "ip", "-o", "link", "show", "master", "gone0") != "" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	s.succeed(t, "rm", "gone")
	s.wantNothingOf(t, "gone", "gone0")
}

func TestPrune(t *testing.T) {
	s := newShell(t)
	s.network(t, "hand", `[[{"subnet": "10.5.0.0/24"}]]`)
	for _, args := range [][]string{{"a"}, {"--label", "keep", "b"}, {"--config-only", "c"}, {"used"}} {
		s.succeed(t, append([]string{"create"}, args...)...)
	}
	ns := testnet.NewNS(t, "web")
	s.succeed(t, "connect", "used", "netns:"+ns.Path)
	t.Cleanup(func() { s.succeed(t, "disconnect", "used", "netns:"+ns.Path); s.succeed(t, "rm", "used") })

	out, said, status := s.answer(t, "no\n", "prune")
	if out != pruneWarning || status != 1 || said != "fairway: prune was cancelled, nothing was removed\n" {
		t.Errorf("prune without a yes: got %q, %q, %d", out, said, status)
	}
	if got := s.succeed(t, "prune", "-f", "--filter", "until=1h"); got != "" {
		t.Errorf("prune of what is old: got %q", got)
	}
	out, said, status = s.answer(t, "y\n", "prune", "--filter", "label!=keep")
	if want := pruneWarning + "Deleted Networks:\na\n"; out != want || status != 0 || said != "" {
		t.Errorf("prune: got %q, %q, %d", out, said, status)
	}
	if got := s.succeed(t, "network", "prune", "--force"); got != "Deleted Networks:\nb\n" {
		t.Errorf("prune -f: got %q", got)
	}
	if got := s.succeed(t, "ls", "--format", "{{.Name}}", "--filter", "type=custom"); got != "c\nhand\nused\n" {
		t.Errorf("left: got %q", got)
	}
	_, said, status = s.run("prune", "--filter", "size=1")
	if status != 2 || !strings.Contains(said, "there is no key") {
		t.Errorf("prune with an unknown filter: got %q, %d", said, status)
	}
}

func TestInspect(t *testing.T) {
	s := newShell(t)
	s.succeed(t, "create", "lamp")
	out, said, status := s.run("inspect", "-f", "{{.Name}}", "lamp", "none-such", "bridge")
	if out != "lamp\nbridge\n" || said != "fairway: network none-such not found\n" || status != 1 {
		t.Errorf("several: got %q, %q, %d", out, said, status)
	}
	if out, _, status := s.run("inspect", "none-such"); out != "[]\n" || status != 1 {
		t.Errorf("none: got %q, %d", out, status)
	}
	if got := s.succeed(t, "inspect", "-v", "-f", "{{.File}} {{len .Conflist}}", "bridge", "lamp"); !strings.Contains(got, s.dir+"/fairway-lamp.conflist ") {
		t.Errorf("verbose: got %q", got)
	}
	if _, said, status := s.run("inspect", "-f", "{{.Nam", "lamp"); status != 2 || !strings.Contains(said, "format") {
		t.Errorf("a template cut short: got %q, %d", said, status)
	}
}

func TestDryRun(t *testing.T) {
	s := newShell(t)
	printed := s.succeed(t, "create", "--dry-run", "--subnet", "10.5.0.0/24", "lamp")
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 0 {
		t.Errorf("written: %v, %v", entries, err)
	}
	s.succeed(t, "create", "--subnet", "10.5.0.0/24", "lamp")
	written, err := os.ReadFile(s.dir + "/fairway-lamp.conflist")
	if err != nil {
		t.Fatal(err)
	}
	// They differ in the time of creation alone.
	var a, b map[string]any
	if err := json.Unmarshal([]byte(printed), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(written, &b); err != nil {
		t.Fatal(err)
	}
	delete(a["fairway"].(map[string]any), "created")
	delete(b["fairway"].(map[string]any), "created")
	if diff := cmp.Diff(b, a); diff != "" {
		t.Errorf("file (-written +printed):\n%s", diff)
	}
	if got := s.succeed(t, "create", "--dry-run", "-d", "overlay", "--subnet", "10.42.0.0/16", "wide"); !strings.Contains(got, `"prefix": "10.42.0.0/16"`) {
		t.Errorf("an overlay of the agent's: got %s", got)
	}
}

func TestOverlayWithoutAgent(t *testing.T) {
	s := newShell(t)
	s.fail(t, "fairway: fairwayd is not running: nobody listens on /run/none.sock, start it by `systemctl start fairwayd`, or list the hosts by -o peers=VTEP=BLOCK,…",
		"create", "--agent", "/run/none.sock", "-d", "overlay", "--subnet", "10.42.0.0/16", "wide")
}

func TestInstall(t *testing.T) {
	s := newShell(t)
	if got, want := s.succeed(t, "install", "bridge"), s.dir+"/fairway-bridge.conflist\n"; got != want {
		t.Errorf("install: got %q, want %q", got, want)
	}
	if got, want := s.succeed(t, "inspect", "bridge", "--format", `{{json .Labels}}`), `{"nerdctl/default-network":"true"}`+"\n"; got != want {
		t.Errorf("labels: got %q, want %q", got, want)
	}
	s.fail(t, "fairway: network with name bridge already exists", "install", "bridge")
	s.fail(t, "fairway: bridge is a predefined network and cannot be removed", "rm", "bridge")
	ns := testnet.NewNS(t, "web")
	s.succeed(t, "connect", "bridge", "netns:"+ns.Path)
	s.succeed(t, "disconnect", "bridge", "netns:"+ns.Path)
	s.succeed(t, "install", "--remove", "bridge")
	s.fail(t, "fairway: network bridge has no file of fairway's in "+s.dir+": there is nothing to remove", "install", "--remove", "bridge")
	s.fail(t, "fairway: network lamp is not predefined: choose bridge, host or none\nSee 'fairway install --help'.", "install", "lamp")
	if err := exec.Command("ip", "link", "del", "fwbridge0").Run(); err != nil {
		t.Error(err)
	}
	s.network(t, "10-first", `[[{"subnet": "10.5.0.0/24"}]]`)
	_, said, status := s.run("install", "bridge")
	if want := "a runtime that takes the first network it finds takes " + s.dir + "/10-first.conflist"; status != 0 || !strings.Contains(said, want) {
		t.Errorf("behind another file: got %q, %d", said, status)
	}
}

func TestExitStatuses(t *testing.T) {
	s := newShell(t)
	if err := os.WriteFile(s.dir+"/broken.conflist", []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   string
		status int
		said   string
	}{
		{"ls", 0, "fairway: warning: left out: " + s.dir + "/broken.conflist"},
		{"network ls", 0, "warning"},
		{"network list", 0, "warning"},
		{"", 0, ""},
		{"--help", 0, ""},
		{"rm none-such", 1, "network none-such not found"},
		{"create", 2, "an argument is missing: fairway create [OPTIONS] NETWORK"},
		{"create a b", 2, `"b" is one argument too many`},
		{"network create", 2, "See 'fairway network create --help'."},
		{"create --ipv5 a", 2, "unknown flag: --ipv5"},
		{"lss", 2, `"lss" is no command of "fairway": do you mean "ls"?`},
		{"network crate", 2, `do you mean "create"?`},
		{"ls --filter x", 2, "write KEY=VALUE"},
		{"ls --format {{", 2, "the format cannot be read"},
	} {
		out, said, status := s.run(strings.Fields(test.args)...)
		if status != test.status || !strings.Contains(said, test.said) || test.said == "" && said != "" {
			t.Errorf("fairway %s: got status %d, %q, want %d, %q\n%s", test.args, status, said, test.status, test.said, out)
		}
	}
}

func TestAsRoot(t *testing.T) {
	denied := fmt.Errorf("netconf directory: %w", &os.PathError{Op: "open", Path: "/etc/cni/net.d/.fairway.lock", Err: unix.EACCES})
	const want = "netconf directory: open /etc/cni/net.d/.fairway.lock: permission denied"
	if got := asRoot(denied, 1000).Error(); got != want+": run fairway as root" {
		t.Errorf("got %q", got)
	}
	if got := asRoot(denied, 0).Error(); got != want {
		t.Errorf("of root: got %q", got)
	}
	if err := os.ErrNotExist; asRoot(err, 1000) != err {
		t.Errorf("got %v", asRoot(err, 1000))
	}
}

func TestNamesAreCompleted(t *testing.T) {
	s := newShell(t)
	s.network(t, "lamp", `[[{"subnet": "10.5.0.0/24"}]]`)
	for args, want := range map[string]string{
		"rm|":             "lamp\n:4\n",
		"run|--network|":  "lamp\nbridge\nhost\nnone\n:4\n",
		"ls|--filter|":    "dangling=\ndriver=\nid=\nlabel=\nname=\nscope=\ntype=\n:6\n",
		"ls|--format|":    "json\ntable\n:4\n",
		"prune|--filter|": "label=\nlabel!=\nuntil=\n:6\n",
		"create|-d|macvlan|-o|": "bcqueuelen=\ncom.docker.network.driver.mtu=\ndns=\nenabledad=\nhostAccess=\nlinkInContainer=\n" +
			"mac=\nmacvlan_mode=\nmaster=\nmode=\nmtu=\nnames=\nparent=\n:6\n",
		"create|-d|ptp|-o|":      "com.docker.network.driver.mtu=\n:6\n",
		"network|inspect|lamp|":  "bridge\nhost\nnone\n:4\n",
		"create|-d|":             "bridge\nmacvlan\noverlay\n:4\n",
		"create|--config-from|l": "lamp\nbridge\nhost\nnone\n:4\n",
		"install|":               "bridge\nhost\nnone\n:4\n",
	} {
		out, _, _ := s.run(append([]string{"__completeNoDesc"}, strings.Split(args, "|")...)...)
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
}

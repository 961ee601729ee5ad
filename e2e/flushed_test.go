package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// flushed is a host with a container on a network of each mode that has rules, and what there is to be seen of these.
type flushed struct {
	*member
	rules map[string]int
	// ways are who reaches whom, and who does not.
	ways []way
}

type way struct {
	name, from, to string
	reaches        bool
}

// newFlushed attaches containers to networks of the first of two hosts. The other one has a container of the overlay, and serves
// as the outside.
func newFlushed(t *testing.T, c *cluster) *flushed {
	t.Helper()
	h, far := &flushed{member: c.hosts[0]}, c.hosts[1]
	ipam := func(subnet string) string {
		return `"ipam": {"type": "host-local", "ranges": [[{"subnet": "` + subnet + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}`
	}
	for name, plugins := range map[string]string{
		"isolated": `{"type": "bridge", "bridge": "br1", "isolated": true, "macspoofchk": true, "isGateway": true, "ipMasq": true, ` + ipam("10.1.0.0/24") + `}`,
		"internal": `{"type": "bridge", "bridge": "br2", "internal": true, "icc": false, "isGateway": true, ` + ipam("10.2.0.0/24") + `}`,
		"points":   `{"type": "ptp", "ipMasq": true, ` + ipam("10.3.0.0/24") + `}`,
		"lan": `{"type": "macvlan", "master": "eth0", "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24",
			"rangeStart": "192.0.2.200", "rangeEnd": "192.0.2.210"}]]}}`,
		"shop": `{"type": "bridge", "bridge": "br4", "isGateway": true, "ipMasq": true, "capabilities": {"portMappings": true}, ` + ipam("10.4.0.0/24") + `}`,
	} {
		dir := h.File(confDir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name+".conflist"), `{"cniVersion": "1.1.0", "name": "`+name+`", "plugins": [`+plugins+`]}`)
	}
	succeed(t, h.fairway(t, "create", "-d", "overlay", "--subnet", "10.42.0.0/16", "wide"))
	awaitNetwork(t, far, "wide overlay global \n")
	on := map[string]guest{}
	for _, name := range []string{"isolated", "internal", "points", "lan", "wide", "shop"} {
		on[name] = h.newGuest(t, name)
		succeed(t, h.fairway(t, "connect", name, "netns:"+on[name].inside))
		t.Cleanup(func() { _, _, _ = run(h.fairway(t, "disconnect", name, "netns:"+on[name].inside)) }) // the host goes as well
	}
	db := far.newGuest(t, "db")
	succeed(t, far.fairway(t, "connect", "wide", "netns:"+db.inside))
	const address = "{{range .Containers}}{{.IPv4Address}}{{end}}"
	of := func(m *member, network string) string {
		addr, _, _ := strings.Cut(succeed(t, m.fairway(t, "inspect", "-f", address, network)), "/")
		return addr
	}
	isolated := of(h.member, "isolated")
	server := runShellBy(t, h.fairway(t, "run", "--network", "shop", "-p", "9000:80", "--name", "server", "sh"))
	t.Cleanup(func() { server.end(t) })
	server.say(t, "busybox httpd -p 80 -h /etc && echo serves", "serves\n")

	const outside = "192.0.2.12"
	h.ways = []way{
		{"masquerade of a bridge", on["isolated"].Path, outside, true},
		{"internal bridge", on["internal"].Path, outside, false},
		{"isolated bridge from another", on["shop"].Path, isolated, false},
		{"masquerade of ptp", on["points"].Path, outside, true},
		{"macvlan", on["lan"].Path, outside, true},
		{"overlay to another host", on["wide"].Path, of(far, "wide"), true},
		{"overlay from another host", db.Path, of(h.member, "wide"), true},
		{"published port", far.Path, "192.0.2.11:9000", true},
	}
	h.wantWays(t, "before")
	h.rules = h.listed()
	return h
}

// listed counts the lines of all rules.
func (h *flushed) listed() map[string]int { return lines(h.try("nft", "list", "ruleset")) }

// wantWays expects that each way is open, or closed, as it was.
func (h *flushed) wantWays(t *testing.T, when string) {
	t.Helper()
	for _, w := range h.ways {
		probe := []string{"busybox", "ping", "-c", "1", "-W", "2", w.to}
		if addr, port, ok := strings.Cut(w.to, ":"); ok {
			probe = []string{"timeout", "5", "bash", "-c", "exec 3<>/dev/tcp/" + addr + "/" + port}
		}
		reaches := func() bool {
			return exec.Command("nsenter", append([]string{"--net=" + w.from}, probe...)...).Run() == nil
		}
		if w.reaches {
			eventually(t, fmt.Sprintf("%s: %s", when, w.name), reaches)
		} else if reaches() {
			t.Errorf("%s: %s: it can be reached", when, w.name)
		}
	}
}

// losses are what others do to rules: an administrator, nftables.service, firewalld that is reloaded, Docker that is restarted.
var losses = []struct{ name, script string }{
	{"nft flush ruleset", "nft flush ruleset"},
	{"tables are deleted", "for t in $(nft list tables | awk '$3 ~ /^fairway/ {print $2 \"/\" $3}'); do nft delete table ${t%/*} ${t#*/}; done"},
	{"chains are flushed", "for t in $(nft list tables | awk '$3 ~ /^fairway/ {print $2 \"/\" $3}'); do nft flush table ${t%/*} ${t#*/}; done"},
	{"firewalld is reloaded", `for command in iptables ip6tables; do for table in filter nat mangle raw; do $command -w -t $table -F; $command -w -t $table -X; done; done
		for again in 1 2; do nft -f - <<-end
			table inet firewalld
			delete table inet firewalld
			table inet firewalld {
				chain filter_FORWARD {
					type filter hook forward priority filter + 10; policy accept;
					ct state { established, related } accept
				}
			}
		end
		done; nft flush ruleset`},
	{"Docker is restarted", `iptables -w -N DOCKER-USER; iptables -w -I FORWARD -j DOCKER-USER; iptables -w -A DOCKER-USER -j RETURN
		iptables -w -t nat -N DOCKER; iptables -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
		iptables -w -t nat -F DOCKER; iptables -w -P FORWARD DROP; nft flush table inet fairway`},
}

// TestFlushed: in each mode, what others take of rules comes back without attaching again, by the node agent itself, and by
// `fairway repair` where none runs.
func TestFlushed(t *testing.T) {
	c := newCluster(t, 2, 1)
	c.start(t)
	h := newFlushed(t, c)
	for _, loss := range losses {
		h.Sh(t, "sh", "-c", loss.script)
		h.wantBack(t, loss.name)
	}
	h.kill(t)
	for _, loss := range losses {
		h.Sh(t, "sh", "-c", loss.script)
		succeed(t, h.fairway(t, "repair"))
		h.wantBack(t, loss.name+", then repair")
	}
}

// wantBack waits for the rules. A forward chain that drops is another's, which doctor names.
func (h *flushed) wantBack(t *testing.T, what string) {
	t.Helper()
	ours := func() map[string]int {
		if strings.Contains(what, "Docker") {
			h.try("sh", "-c", "nft delete table ip filter; nft delete table ip nat")
		}
		return h.listed()
	}
	if strings.Contains(what, "Docker") {
		if said, _, _ := run(h.fairway(t, "doctor")); !strings.Contains(said, "is dropped by the policy of chain ip filter FORWARD") {
			t.Errorf("%s: doctor says\n%s", what, said)
		}
	}
	var diff string
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if diff = cmp.Diff(h.rules, ours()); diff == "" || time.Now().After(end) {
			break
		}
	}
	if diff != "" {
		t.Fatalf("%s (-before +after):\n%s", what, diff)
	}
	h.wantWays(t, what)
}

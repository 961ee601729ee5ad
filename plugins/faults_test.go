package plugins

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// changing are the system calls by which a plugin asks for something to change, or notes that it has.
const changing = "sendto,sendmsg,write,pwrite64,linkat,unlinkat,mkdirat,renameat,renameat2,fsetxattr,utimensat,ftruncate,setns"

// TestFaults strikes ADD and DEL of every plugin at their system calls, by a kill and by errors of the kernel. Then: an address
// that a link in the container has is reserved; and a DEL, or a GC with nobody alive, succeeds and leaves nothing.
// A few calls of each are drawn; with FAIRWAY_FAULTS=all it is every one.
func TestFaults(t *testing.T) {
	for name, on := range everyPlugin() {
		for _, verb := range []string{"ADD", "DEL"} {
			for _, fault := range []string{"signal=KILL", "error=ENOBUFS", "error=EIO"} {
				t.Run(strings.Join([]string{name, verb, fault}, " "), func(t *testing.T) {
					a := on(t)
					a.add(t)
					a.succeed(t, "DEL")
					before := a.traces(t).withoutTables()
					for i, call := range drawn(a.changes(t, verb)) {
						a = a.afresh(t)
						a.strike(t, verb, fault, call)
						if i%2 == 0 || a.beneath != nil { // what is in a container is none of GC's
							a.succeed(t, "DEL")
						} else {
							a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
						}
						if diff := cmp.Diff(before, a.leftByGC(t, before)); diff != "" {
							t.Fatalf("%s: left behind (-before +after):\n%s", call, diff)
						}
					}
				})
			}
		}
	}
}

// calledAt is a system call of a thread, the how manieth of its kind: as strace counts.
type calledAt struct {
	call string
	nth  int
}

func (c calledAt) String() string { return fmt.Sprintf("%s %d", c.call, c.nth) }

// at makes strace inject a fault there.
func (c calledAt) at(fault string) string {
	return fmt.Sprintf("inject=%s:%s:when=%d", c.call, fault, c.nth)
}

// drawn is some of the calls that strace has logged, or all.
func drawn(log []byte) []calledAt {
	var all []calledAt
	seen := map[[2]string]int{} // by thread and call
	for _, match := range regexp.MustCompile(`(?m)^(\d+) +(\w+)\(`).FindAllSubmatch(log, -1) {
		thread := [2]string{string(match[1]), string(match[2])}
		seen[thread]++
		if c := (calledAt{thread[1], seen[thread]}); !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	const some = 4
	if os.Getenv("FAIRWAY_FAULTS") == "all" || len(all) <= some {
		return all
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:some]
}

// leftByGC is what is there. A GC with nobody alive also takes the network's own things, which are made again.
func (a attachment) leftByGC(t *testing.T, before traces) traces {
	t.Helper()
	left := a.traces(t).withoutTables()
	if len(left.Host) < len(before.Host) {
		a.add(t)
		a.succeed(t, "DEL")
		left = a.traces(t).withoutTables()
	}
	return left
}

// changes logs the calls of a verb that change something. It leaves the attachment as it was.
func (a attachment) changes(t *testing.T, verb string) (log []byte) {
	t.Helper()
	a = a.afresh(t)
	if verb == "DEL" {
		a.add(t)
	}
	log, _, err := a.traced(t, verb, "-e", "trace="+changing)
	if err != nil {
		t.Fatal(err)
	}
	a.succeed(t, "DEL")
	return log
}

// strike runs a verb that meets a fault at one call of each of its threads.
func (a attachment) strike(t *testing.T, verb, fault string, call calledAt) {
	t.Helper()
	if verb == "DEL" {
		a.add(t)
	}
	_, out, err := a.traced(t, verb, "-e", "trace="+changing, "-e", call.at(fault))
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(out) > 0 { // unless it could not even write that
		decodeOne(t, string(out), &struct{ Code uint }{})
	}
	if a.conf["prevResult"] != nil {
		return // the address is another plugin's
	}
	container := &testnet.Namespace{Path: a.env["CNI_NETNS"]}
	held := a.reservations(t)
	for line := range strings.Lines(container.Sh(t, "ip", "-o", "addr", "show", "scope", "global")) {
		address, _, _ := strings.Cut(strings.Fields(line)[3], "/")
		if a.env["CNI_IFNAME"] == strings.Fields(line)[1] && !slices.ContainsFunc(held, func(r string) bool { return strings.HasPrefix(r, address+" ") }) {
			t.Errorf("%s at %s of %s: %s is on a link and not reserved: %v", fault, call, verb, address, held)
		}
	}
}

// traced runs a verb under strace, and gives its log and standard output.
func (a attachment) traced(t *testing.T, verb string, options ...string) (log, stdout []byte, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	cmd := a.host.Command("strace", append(append([]string{"-f", "-qq", "-o", file}, options...), filepath.Join(binDir, a.plugin))...)
	cmd.Stdin = strings.NewReader(a.stdin(t))
	cmd.Env = a.command(verb, "").Env
	stdout, err = cmd.Output()
	log, readErr := os.ReadFile(file)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return log, stdout, err
}

// otherwise is keys of another configuration of each chained plugin. The others refuse the ADD of an attachment that there is.
var otherwise = map[string]map[string]any{
	"portmap": {"runtimeConfig": map[string]any{"portMappings": []any{mapping(8080, 81), mapping(8081, 81)}}},
	"tuning": {
		"sysctl": map[string]string{"net.ipv4.conf.IFNAME.arp_filter": "0", "net.ipv4.conf.IFNAME.arp_announce": "2"}, "mtu": 1300, "promisc": false,
		"mac": "02:00:00:00:00:77",
	},
	"bandwidth": {"ingressRate": 2000000, "ingressBurst": 2000000, "egressRate": 2000000, "egressBurst": 2000000},
	"sbr":       {"table": 5000},
}

// TestFailedAddChangesNothing: of an attachment that there is, an ADD that fails changes nothing, wherever it fails, whether its
// configuration is still the same or another: what is in either namespace and what is recorded is as it was, and CHECK is content.
func TestFailedAddChangesNothing(t *testing.T) {
	for name, on := range everyPlugin() {
		for _, fault := range []string{"error=ENOBUFS", "error=EIO"} {
			t.Run(name+" "+fault, func(t *testing.T) { failAdds(t, on(t), nil, fault) })
			if keys := otherwise[name]; keys != nil {
				t.Run(name+" otherwise "+fault, func(t *testing.T) { failAdds(t, on(t), keys, fault) })
			}
		}
	}
}

// failAdds attaches, and lets further ADDs with other keys fail, each at another call.
func failAdds(t *testing.T, a attachment, keys map[string]any, fault string) {
	t.Helper()
	again := func(options ...string) (log []byte, err error) {
		b := a
		for key, value := range keys {
			b = b.with(key, value)
		}
		log, _, err = b.traced(t, "ADD", append([]string{"-e", "trace=" + changing}, options...)...)
		if err == nil { // one that changes what it found is none of this test
			b.succeed(t, "DEL")
			a.succeed(t, "DEL")
			a = a.afresh(t)
		}
		return log, err
	}
	result := a.add(t)
	log, err := again() // it may say that there is an attachment
	attach := func() (there map[string]string) {
		result = a.add(t)
		return a.settled(t)
	}
	var before map[string]string
	if err != nil {
		before = a.settled(t)
	} else {
		before = attach()
	}
	for _, call := range drawn(log) {
		log, err := again("-e", call.at(fault))
		if err == nil {
			before = attach()
			continue
		}
		// Each thread counts by itself: a second one may have been struck while it took back what the first had done.
		struckOnce := bytes.Count(log, []byte("(INJECTED)")) == 1
		if diff := cmp.Diff(before, a.everything(t)); diff != "" || !struckOnce {
			if struckOnce {
				t.Errorf("%s (-before +after):\n%s", call, diff)
			}
			a.succeed(t, "DEL")
			a = a.afresh(t)
			before = attach()
		}
		a.after(result).succeed(t, "CHECK")
	}
	a.succeed(t, "DEL")
}

// everything is what is recorded of an attachment, and all that is on its host and in its container.
func (a attachment) everything(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{"reservations": strings.Join(a.reservations(t), "\n"), "settings": ""}
	records, _ := filepath.Glob("/run/cni/tuning/*.json") // the pattern is sound
	for _, file := range records {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found["settings"] += file + " " + string(text)
	}
	for what, value := range snapshot(t, a.host) {
		found["host: "+what] = value
	}
	for what, value := range snapshot(t, &testnet.Namespace{Path: a.env["CNI_NETNS"]}) {
		found["container: "+what] = value
	}
	return found
}

// settled is everything, once both namespaces have ended what the kernel does by itself after a change.
func (a attachment) settled(t *testing.T) map[string]string {
	t.Helper()
	settled(t, a.host)
	settled(t, &testnet.Namespace{Path: a.env["CNI_NETNS"]})
	return a.everything(t)
}

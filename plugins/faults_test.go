package plugins

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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
					for _, call := range drawn(a.changes(t, verb)) {
						a.strike(t, verb, fault, call)
						if call%2 == 0 {
							a.succeed(t, "DEL")
						} else {
							a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
						}
						if diff := cmp.Diff(before, a.leftByGC(t, before)); diff != "" {
							t.Fatalf("call %d: left behind (-before +after):\n%s", call, diff)
						}
					}
				})
			}
		}
	}
}

// drawn is some of the numbers from 1 to count, or all.
func drawn(count int) []int {
	var all []int
	for i := range count {
		all = append(all, i+1)
	}
	const some = 4
	if os.Getenv("FAIRWAY_FAULTS") == "all" || count <= some {
		return all
	}
	rand.Shuffle(count, func(i, j int) { all[i], all[j] = all[j], all[i] })
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

// changes counts the calls of a verb that change something. It leaves the attachment as it was.
func (a attachment) changes(t *testing.T, verb string) int {
	t.Helper()
	if verb == "DEL" {
		a.add(t)
	}
	log, _, err := a.traced(t, verb, "-e", "trace="+changing)
	if err != nil {
		t.Fatal(err)
	}
	a.succeed(t, "DEL")
	return bytes.Count(log, []byte("\n"))
}

// strike runs a verb that meets a fault at one call of each of its threads.
func (a attachment) strike(t *testing.T, verb, fault string, call int) {
	t.Helper()
	if verb == "DEL" {
		a.add(t)
	}
	_, out, err := a.traced(t, verb, "-e", "trace="+changing, "-e", fmt.Sprintf("inject=%s:%s:when=%d", changing, fault, call))
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
			t.Errorf("%s at call %d of %s: %s is on a link and not reserved: %v", fault, call, verb, address, held)
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

// TestFailedAddChangesNothing: of an attachment that there is, an ADD that fails changes nothing, wherever it fails: links, rules, addresses
// and records are as they were, and CHECK is content.
func TestFailedAddChangesNothing(t *testing.T) {
	for name, on := range everyPlugin() {
		for _, fault := range []string{"error=ENOBUFS", "error=EIO"} {
			t.Run(name+" "+fault, func(t *testing.T) {
				a := on(t)
				result := a.add(t)
				log, _, _ := a.traced(t, "ADD", "-e", "trace="+changing) // it may say that there is an attachment
				before := a.traces(t).withoutTables()
				for _, call := range drawn(bytes.Count(log, []byte("\n"))) {
					if _, _, err := a.traced(t, "ADD", "-e", "trace="+changing, "-e", fmt.Sprintf("inject=%s:%s:when=%d", changing, fault, call)); err == nil {
						continue
					}
					if diff := cmp.Diff(before, a.traces(t).withoutTables()); diff != "" {
						t.Fatalf("call %d (-before +after):\n%s", call, diff)
					}
					a.after(result).succeed(t, "CHECK")
				}
				a.succeed(t, "DEL")
			})
		}
	}
}

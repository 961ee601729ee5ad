package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// Unless asked for another number, there is an end of time as well, as machines differ, when each command was killed a few times.
const (
	manyKills = 60
	siegeTime = 15 * time.Second
	eachKills = 2
)

var (
	siegeKills = flag.Int("kills", manyKills, "how many commands TestSiege kills")
	siegeSeed  = flag.Uint64("seed", 0, "what TestSiege begins with (0: the time)")
)

// siege kills commands of fairway on a host where a container lives on two networks, and looks for what is left.
type siege struct {
	t      *testing.T
	chance *rand.Rand
	live   runShell
	box    *testnet.Namespace
	// took is how long a command ran that was not killed; it is killed within that time.
	took   map[string]time.Duration
	killed map[string]int
	// plugins is in how many of these only plugins were killed.
	plugins int
	before  remains
}

// remains is all that a host has of fairway.
type remains struct {
	Lamp, Back, Spare traces
	Links             []string
	// Rules are all there are, of networks too.
	Rules map[string]int
	Files []string
}

// TestSiege kills every command that changes anything, whenever; what is left the next ones take away, and who lives stays connected.
func TestSiege(t *testing.T) {
	seed := *siegeSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	createNetwork(t, "--subnet", "10.78.0.0/24", "--subnet", "fd78::/64", "lamp")
	createNetwork(t, "--subnet", "10.79.0.0/24", "back")
	s := &siege{
		t: t, chance: rand.New(rand.NewPCG(seed, 0)), took: map[string]time.Duration{}, killed: map[string]int{},
		live: lasting(t, "run", "--network", "lamp", "--network", "back", "--name", "live", "sh"), box: testnet.NewNS(t, "box"),
	}
	rounds := map[string]func(){"create": s.create, "connect": s.connect, "disconnect": s.disconnect, "rm": s.remove, "prune": s.prune, "gc": s.gc,
		"run": s.run, "publish": s.publish, "unpublish": s.unpublish, "repair": s.repair}
	verbs := slices.Sorted(maps.Keys(rounds))
	for _, verb := range verbs { // what networks share is made by the first of them
		rounds[verb]()
		s.settle()
	}
	s.before = s.look()
	t.Cleanup(func() { t.Logf("killed: %v, of %d the plugins alone", s.killed, s.plugins) })
	began := time.Now()
	for calls := 0; !s.enough(verbs, time.Since(began)) && !t.Failed(); calls++ {
		if calls == 5**siegeKills {
			t.Fatalf("%v killed in %d rounds", s.killed, calls)
		}
		verb := s.next(verbs)
		rounds[verb]()
		s.settle()
		if calls%100 == 99 {
			t.Logf("round %d, killed: %v", calls, s.killed)
		}
		if diff := s.left(); diff != "" {
			t.Errorf("round %d, %s: left (-want +got):\n%s", calls, verb, diff)
		}
	}
	s.live.end(t)
	wantNothing(t, "lamp")
	wantNothing(t, "back")
}

// next is a command of those that were killed least.
func (s *siege) next(verbs []string) string {
	least := s.killed[s.least(verbs)]
	left := slices.DeleteFunc(slices.Clone(verbs), func(v string) bool { return s.killed[v] > least })
	return left[s.chance.IntN(len(left))]
}

func (s *siege) least(verbs []string) string {
	return slices.MinFunc(verbs, func(a, b string) int { return s.killed[a] - s.killed[b] })
}

func (s *siege) enough(verbs []string, after time.Duration) bool {
	n := 0
	for _, kills := range s.killed {
		n += kills
	}
	return n >= *siegeKills || *siegeKills == manyKills && after > siegeTime && s.killed[s.least(verbs)] >= eachKills
}

// lasting starts a shell that may live longer than commands do otherwise.
func lasting(t *testing.T, args ...string) runShell {
	t.Helper()
	limited := fairway(t, args...)
	cmd := exec.CommandContext(t.Context(), limited.Path, args...)
	cmd.Env = limited.Env
	return runShellBy(t, cmd)
}

// What of a command is killed: its process group, which its plugins and its keeper are not in; its children; both; or the plugins
// that run for it, also under the keeper, which outlives them.
const (
	killGroup = iota
	killChildren
	killBoth
	killPlugins
	killKinds
)

// kill starts a command and kills it at random. The first run of a command ends by itself.
func (s *siege) kill(args ...string) {
	s.t.Helper()
	verb := args[0]
	cmd := fairway(s.t, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	var children []int
	which, struck := s.chance.IntN(killKinds), false
	if took := s.took[verb]; took > 0 {
		time.Sleep(time.Duration(s.chance.Int64N(int64(took))))
		var victims []int
		if which == killPlugins {
			victims = awaitPlugins(cmd.Process.Pid, took)
		}
		children = childrenOf(cmd.Process.Pid)
		if which == killChildren || which == killBoth {
			victims = children
		}
		if which == killGroup || which == killBoth || len(victims) == 0 {
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // it may have ended
		}
		for _, pid := range victims {
			struck = unix.Kill(pid, unix.SIGKILL) == nil || struck // it may have ended
		}
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled(), struck && err != nil:
		s.killed[verb]++
		if which == killPlugins && struck {
			s.plugins++
		}
	default:
		s.took[verb] = time.Since(began)
	}
	if verb == "run" { // its keeper detaches
		for _, pid := range children {
			awaitEnd(s.t, pid)
		}
	}
}

// awaitPlugins are the plugins that run for a process, soon or within a time. There are none when it needs none, or ends.
func awaitPlugins(pid int, within time.Duration) (plugins []int) {
	for end := time.Now().Add(within); len(plugins) == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		plugins = pluginsOf(pid)
	}
	return plugins
}

// pluginsOf are the descendants of a process that run a verb of CNI.
func pluginsOf(pid int) (plugins []int) {
	for _, child := range childrenOf(pid) {
		environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", child)) // none, once it has ended
		if strings.Contains("\x00"+string(environ), "\x00CNI_COMMAND=") {
			plugins = append(plugins, child)
		}
		plugins = append(plugins, pluginsOf(child)...)
	}
	return plugins
}

// childrenOf are the processes that another has started.
func childrenOf(pid int) (children []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // none, once it has ended
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for _, field := range strings.Fields(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

// awaitEnd waits for the end of a process that is somebody else's child.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	for range int(commandLimit / (10 * time.Millisecond)) {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d does not end", pid)
}

// may runs a command that succeeds, or says one of the sentences.
func (s *siege) may(sentences []string, args ...string) (done bool) {
	s.t.Helper()
	stdout, stderr, err := run(fairway(s.t, args...))
	if err != nil && !slices.ContainsFunc(sentences, func(text string) bool { return strings.Contains(stderr, text) }) {
		s.t.Errorf("fairway %s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
	return err == nil
}

var (
	there        = []string{"already exists"}
	notThere     = []string{"not found"}
	notPublished = []string{"is not published"}
	connected    = []string{"is already connected"}
	notConnected = []string{"is not connected", "not found", "is on no network"}
)

func (s *siege) create() {
	s.kill("create", "--subnet", "10.80.0.0/24", "spare")
	if s.chance.IntN(2) == 0 {
		s.may(nil, "gc")
	}
	s.may(there, "create", "--subnet", "10.80.0.0/24", "spare")
}

func (s *siege) connect() {
	s.kill("connect", s.either(), s.boxRef())
	s.connectWhole()
}

// connectWhole connects the box to the network lamp, whatever was before, and expects that to work.
func (s *siege) connectWhole() {
	switch s.chance.IntN(3) {
	case 0:
		s.may(nil, "gc")
	case 1:
		s.may(nil, "run", "--network", "lamp", "--network", "back", "true")
	}
	if s.may(connected, "connect", "lamp", s.boxRef()) {
		ping(s.t, s.box.Path, "10.78.0.1")
	}
}

func (s *siege) boxRef() string { return "netns:" + s.box.Path }

func (s *siege) either() string { return []string{"lamp", "back"}[s.chance.IntN(2)] }

func (s *siege) disconnect() {
	s.may(connected, "connect", "lamp", s.boxRef())
	s.kill("disconnect", "lamp", s.boxRef())
	s.connectWhole()
}

// used makes a network that has a bridge.
func (s *siege) used() {
	s.may(there, "create", "--subnet", "10.80.0.0/24", "spare")
	s.may(nil, "run", "--network", "spare", "true")
}

func (s *siege) remove() {
	s.used()
	s.kill("rm", "spare")
}

func (s *siege) prune() {
	s.used()
	s.kill("prune", "-f")
	s.may(nil, "prune", "-f")
}

func (s *siege) gc() {
	gone, err := testnet.New("gone")
	if err != nil {
		s.t.Fatal(err)
	}
	s.may(nil, "connect", s.either(), "netns:"+gone.Path)
	if err := gone.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.kill("gc")
}

func (s *siege) run() {
	s.kill("run", "--network", "lamp", "--network", "back", "--name", "victim", "sleep", "0.1")
	s.connectWhole()
	s.may(nil, "run", "--network", "back", "--name", "victim", "true")
}

func (s *siege) publish() {
	s.kill("publish", "--network", "lamp", "live", "9000:80", "9001:81/udp")
	s.may(nil, "publish", "--network", "lamp", "live", "9000:80", "9001:81/udp")
	s.may(nil, "unpublish", "--network", "lamp", "live", "9000:80", "9001:81/udp")
}

func (s *siege) unpublish() {
	s.may(nil, "publish", "--network", "lamp", "live", "9000:80")
	s.kill("unpublish", "--network", "lamp", "live", "9000:80")
	s.may(notPublished, "unpublish", "--network", "lamp", "live", "9000:80")
}

func (s *siege) repair() {
	succeed(s.t, command(s.t, "nft", "flush", "ruleset"))
	s.kill("repair")
	s.may(nil, "repair")
}

// settle is what follows any of it: what should not be there goes.
func (s *siege) settle() {
	s.t.Helper()
	for _, network := range []string{"lamp", "back"} {
		if a := filepath.Join("/var/lib/cni/results", network+"-"); len(glob(a+"*box*")) > 0 {
			s.may(notConnected, "disconnect", network, s.boxRef())
		}
	}
	if len(glob(confDir+"/*spare*")) > 0 {
		s.may(notThere, "rm", "-f", "spare")
	}
	s.may(nil, "gc")
	for _, gateway := range []string{"10.78.0.1", "10.79.0.1"} {
		s.live.say(s.t, "busybox ping -c 1 -w 3 "+gateway+" >/dev/null && echo lives || echo alone", "lives\n")
	}
}

func glob(pattern string) []string {
	found, _ := filepath.Glob(pattern) // the pattern is sound
	return found
}

// linkNames are the links of a namespace; nil: of the host.
func linkNames(t *testing.T, ns *testnet.Namespace) (names []string) {
	t.Helper()
	show := command(t, "ip", "-json", "link", "show")
	if ns != nil {
		show = commandIn(t, ns.Path, "ip", "-json", "link", "show")
	}
	var links []struct{ IfName string }
	if err := json.Unmarshal([]byte(succeed(t, show)), &links); err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		names = append(names, link.IfName)
	}
	return names
}

// left is the difference to what was before. A plugin that has outlived the command which was killed may be about to make or remove
// something.
func (s *siege) left() (diff string) {
	s.t.Helper()
	for end := time.Now().Add(commandLimit); ; time.Sleep(50 * time.Millisecond) {
		if diff = cmp.Diff(s.before, s.look()); diff == "" || time.Now().After(end) {
			return diff
		}
	}
}

func (s *siege) look() remains {
	s.t.Helper()
	r := remains{
		Lamp: tracesOf(s.t, "lamp"), Back: tracesOf(s.t, "back"), Spare: tracesOf(s.t, "spare"),
		Rules: lines(succeed(s.t, command(s.t, "nft", "list", "ruleset"))),
		Links: append(linkNames(s.t, nil), linkNames(s.t, s.box)...),
	}
	for _, dir := range []string{"/var/lib/cni", confDir, "/run"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case strings.HasPrefix(e.Name(), "last_reserved_ip"):
			case e.Name() == "damaged": // records that were cut short, which are kept for whoever wants to know
				return fs.SkipDir
			default:
				r.Files = append(r.Files, path)
			}
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return r
}

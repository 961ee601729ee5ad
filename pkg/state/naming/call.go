package naming

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/nameport"
	"github.com/fairway-cni/fairway/pkg/names"
)

// announce leaves a record by put, and has the resolver answer in the container. answered is false where none can be had, of which
// it warns; the error is put's.
//
// The port for names is opened first, and handed over with the last two calls, right after another: queries wait there until the
// resolver has read of it, for which nobody has to wait. So it is woken once, when the ADD has nothing more to do. A resolver that finds
// the record before waits for the port, or opens it itself when this process has ended.
func announce(n *kernel.Namespace, d names.Directory, r names.Record, put func() error) (answered bool, err error) {
	port, failure := open(n)
	defer port.close()
	if err := put(); err != nil {
		return false, errors.Join(err, port.withdraw(n))
	}
	if failure == nil {
		if failure = port.handOver(d, r); failure != nil {
			failure = errors.Join(failure, port.withdraw(n))
		}
	}
	if failure != nil {
		slog.Warn("names are not answered in this container", "container", r.Owner.ContainerID, "error", failure)
	}
	return failure == nil, nil
}

// port is the sockets that this process has opened in a container; nil: there are some already, by another network or an earlier
// resolver.
type port struct{ *nameport.Sockets }

func open(n *kernel.Namespace) (port, error) {
	var s nameport.Sockets
	err := n.Do(func() (err error) {
		s, err = nameport.OpenFirst()
		return err
	})
	if err != nil {
		if errors.Is(err, nameport.ErrRedirected) {
			err = nil
		}
		return port{}, err
	}
	return port{&s}, nil
}

func (p port) close() {
	if p.Sockets != nil {
		p.Sockets.Close()
	}
}

// withdraw takes back what open has made in the container, where nobody will answer.
func (p port) withdraw(n *kernel.Namespace) error {
	if p.Sockets == nil {
		return nil
	}
	return n.Do(func() error {
		r, err := nameport.OpenRedirect()
		if err != nil {
			return err
		}
		defer r.Close()
		return r.Remove()
	})
}

// handOver gives the port to the resolver and tells it of the record. Where that opens the port itself, its answer is awaited.
func (p port) handOver(to names.Directory, r names.Record) error {
	caller, err := connect(to)
	if err != nil {
		return err
	}
	defer caller.Close()
	if p.Sockets == nil {
		return errors.Join(caller.Tell(r.Owner), caller.Wait())
	}
	if err := caller.Adopt(r.Netns, p.UDP, p.TCP); err != nil {
		return err
	}
	return caller.Tell(r.Owner)
}

// tell tells the resolver of a record that has gone, and does not wait.
func tell(d names.Directory, o names.Owner) error {
	caller, err := d.Call()
	if err != nil {
		return err
	}
	defer caller.Close()
	return caller.Tell(o)
}

// connect connects to the resolver, and starts one when none runs.
func connect(d names.Directory) (*names.Caller, error) {
	caller, err := d.Call()
	if !errors.Is(err, names.ErrNoResolver) {
		return caller, err
	}
	release, err := d.Starter()
	if err != nil {
		return nil, err
	}
	defer release()
	// Whoever had the turn before may have started one.
	if caller, err := d.Call(); !errors.Is(err, names.ErrNoResolver) {
		return caller, err
	}
	ended, err := start()
	if err != nil {
		return nil, err
	}
	return await(d, ended)
}

// await waits until the new resolver listens.
func await(d names.Directory, ended <-chan error) (*names.Caller, error) {
	const patience, interval = 10 * time.Second, 5 * time.Millisecond
	limit := time.After(patience)
	for {
		caller, err := d.Call()
		if !errors.Is(err, names.ErrNoResolver) {
			return caller, err
		}
		select {
		case <-time.After(interval):
		case err := <-ended:
			if err != nil {
				return nil, fmt.Errorf("fairwayd ended: %w: run \"fairwayd --names-only\" to see why", err)
			}
			ended = nil // it found another
		case <-limit:
			return nil, fmt.Errorf("fairwayd was started and does not listen after %s: run \"fairwayd --names-only\" to see why", patience)
		}
	}
}

// program is what answers.
const program = "fairwayd"

// option makes it do nothing else.
const option = "--names-only"

// start starts a resolver: as a unit of its own where systemd runs, since whatever a runtime's service starts ends with it; else
// as a process that has nothing of ours. ended tells of an end of that which comes before ours.
func start() (ended <-chan error, err error) {
	path, err := find()
	if err != nil {
		return nil, err
	}
	if underSystemd() {
		// A unit of that name may be about to end, or the manager not be there yet.
		if err := run("systemd-run", "--quiet", "--collect", "--unit=fairway-names", "--property=Restart=on-failure", "--property=Type=notify",
			"--description=names of fairway's containers", path, option); err == nil {
			return nil, nil
		}
	}
	return detach(path)
}

// underSystemd is sd_booted(3), in the host's own process and mount namespaces alone: a manager that cannot see our namespaces
// would serve another host.
func underSystemd() bool {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return false
	}
	for _, kind := range []string{"net", "mnt", "pid"} {
		var own, first unix.Stat_t
		if unix.Stat("/proc/self/ns/"+kind, &own) != nil || unix.Stat("/proc/1/ns/"+kind, &first) != nil || own.Ino != first.Ino {
			return false
		}
	}
	return true
}

func run(name string, args ...string) error {
	path, err := lookPath(name)
	if err != nil {
		return err
	}
	return exec.Command(path, args...).Run()
}

// detach starts a process in a session of its own, with no descriptor and no directory of ours.
func detach(path string) (<-chan error, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	// A runtime may have left descriptors open in us that none of its own processes would keep for so long. Without the call
	// (Linux 5.11) they stay.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	cmd := &exec.Cmd{
		Path: path, Args: []string{path, option}, Dir: "/", Env: []string{"PATH=" + searchPath},
		Stdin: null, Stdout: null, Stderr: null, SysProcAttr: &unix.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended, nil
}

// searchPath is where commands are, for a plugin that a runtime gave no PATH.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// find finds the program: beside this one, or where commands are.
func find() (string, error) {
	if self, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(self), program); isProgram(beside) {
			return beside, nil
		}
	}
	path, err := lookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s answers names and is not installed beside this plugin nor in %s: install it, or create the network with -o names=false", program, searchPath)
	}
	return path, nil
}

func lookPath(name string) (string, error) {
	for _, dir := range filepath.SplitList(os.Getenv("PATH") + ":" + searchPath) {
		if path := filepath.Join(dir, name); filepath.IsAbs(path) && isProgram(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

package attachment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
)

// attachingDir is below libcni's directory. A file in it is a record as libcni's, of an ADD that is running, and is locked by
// the process that runs it. One that nobody has locked is of a process that was killed.
const attachingDir = "fairway/attaching"

// begin records what is about to be made; done, that libcni has a record of it, or that nothing is left.
func (r Runtime) begin(ctx context.Context, conf *libcni.NetworkConfigList, rt *libcni.RuntimeConf) (done func(), err error) {
	content, err := json.Marshal(record{
		Kind: libcni.CNICacheV1, ContainerID: rt.ContainerID, Config: conf.Bytes, IfName: rt.IfName, NetworkName: conf.Name,
		NetNS: rt.NetNS, CniArgs: rt.Args, CapabilityArgs: rt.CapabilityArgs,
	})
	if err != nil {
		return nil, err
	}
	dir, err := r.openDir(attachingDir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }() // nothing was written
	name := attachingFile(conf.Name, rt)
	fd, err := flock.At(ctx, dir, name, patience) // others look into it for a moment
	if err != nil {
		return nil, fmt.Errorf("container %s is being attached to network %s: %w", rt.ContainerID, conf.Name, err)
	}
	path := filepath.Join(r.dir(), attachingDir, name)
	// A process that is killed before the file is whole has made nothing.
	if err := os.WriteFile(path, content, 0o600); err != nil {
		_ = unix.Close(fd) // nothing was written by it
		return nil, err
	}
	return func() {
		_ = os.Remove(path) // the next one who looks finds that libcni has a record
		_ = unix.Close(fd)
	}, nil
}

// attachingFile is the name of a record: a hash, as names of owners may be longer than a file's.
func attachingFile(network string, rt *libcni.RuntimeConf) string {
	sum := sha256.Sum256([]byte(network + "\x00" + rt.ContainerID + "\x00" + rt.IfName))
	return hex.EncodeToString(sum[:16])
}

// eachInterrupted calls f with what processes were attaching that were killed, on a network, or for an empty name on all. Nobody
// else deals with it meanwhile. It is forgotten when f says so.
func (r Runtime) eachInterrupted(network string, f func(Attachment) (settled bool, err error)) error {
	if _, err := os.Stat(filepath.Join(r.dir(), attachingDir)); errors.Is(err, fs.ErrNotExist) {
		return nil // and who only looks makes nothing
	}
	dir, err := r.openDir(attachingDir)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }() // nothing was written
	entries, err := os.ReadDir(filepath.Join(r.dir(), attachingDir))
	errs := []error{err}
	for _, e := range entries {
		fd, err := flock.Try(dir, e.Name())
		if err != nil {
			continue // it is running
		}
		path := filepath.Join(r.dir(), attachingDir, e.Name())
		settled, err := r.lookInto(path, network, f)
		if settled {
			err = os.Remove(path)
		}
		errs = append(errs, err)
		_ = unix.Close(fd) // nothing was written
	}
	return errors.Join(errs...)
}

func (r Runtime) lookInto(path, network string, f func(Attachment) (bool, error)) (settled bool, err error) {
	content, err := os.ReadFile(path)
	var found record
	switch {
	case err != nil:
		return false, err
	case json.Unmarshal(content, &found) != nil:
		return true, nil // of a process that had not begun
	case network != "" && found.NetworkName != network:
		return false, nil
	}
	a := found.attachment(r.dir())
	if recorded(a.file()) {
		return true, nil // it was complete
	}
	return f(a)
}

// recorded says whether libcni has written a record to its end.
func recorded(path string) bool {
	content, err := os.ReadFile(path)
	return err == nil && json.Valid(content)
}

// takeBackInterrupted runs DEL for what was left of ADDs on a network whose processes were killed.
func (r Runtime) takeBackInterrupted(ctx context.Context, network string) (taken []Attachment, err error) {
	err = r.eachInterrupted(network, func(a Attachment) (bool, error) {
		err := awaitIdle(ctx, a.ID)
		if err == nil {
			err = r.del(ctx, a)
		}
		if err == nil {
			taken = append(taken, a)
		}
		return err == nil, err
	})
	return taken, err
}

// TakeBack takes back what was being attached to a network when the process that did so was killed.
func (r Runtime) TakeBack(ctx context.Context, network string) error {
	unlock, err := r.lockShared(ctx, network)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = r.takeBackInterrupted(ctx, network)
	return err
}

// Touched tells of which networks there is a record that cannot be read, or of an ADD that did not come to its end.
func (r Runtime) Touched() (func(network string) bool, error) {
	damaged, err := r.Damaged()
	if err != nil {
		return nil, err
	}
	interrupted, err := r.Interrupted()
	return func(network string) bool {
		return slices.ContainsFunc(damaged, func(path string) bool { return strings.HasPrefix(filepath.Base(path), network+"-") }) ||
			slices.ContainsFunc(interrupted, func(a Attachment) bool { return a.Network == network })
	}, err
}

// Interrupted is what processes were attaching that were killed, of all networks.
func (r Runtime) Interrupted() (found []Attachment, err error) {
	err = r.eachInterrupted("", func(a Attachment) (bool, error) {
		found = append(found, a)
		return false, nil
	})
	return found, err
}

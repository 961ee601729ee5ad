package kernel

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// handleKind is FILEID_NSFS, the type of a file handle for a namespace (Linux 6.18).
const handleKind = 0xf1

// handle is how open_by_handle_at(2) finds a namespace: its ID, which is the cookie, its kind and its inode
// (struct nsfs_file_handle).
func (id NamespaceID) handle() unix.FileHandle {
	b := binary.NativeEndian.AppendUint64(nil, id.Cookie)
	b = binary.NativeEndian.AppendUint32(b, unix.CLONE_NEWNET)
	return unix.NewFileHandle(handleKind, binary.NativeEndian.AppendUint32(b, uint32(id.Inode)))
}

// ErrNoHandles says that this kernel finds namespaces by their paths alone (before Linux 6.18), or this process may not.
var ErrNoHandles = errors.New("namespaces cannot be opened by their number")

// Exists asks the kernel for a namespace that a process had identified, whatever holds it. The error is ErrNoHandles when the kernel
// cannot tell.
func (id NamespaceID) Exists() (bool, error) {
	fd, err := id.open()
	switch {
	case err == nil:
		_ = unix.Close(fd) // only opened
		return true, nil
	case errors.Is(err, ErrNoNamespace):
		return false, nil
	case errors.Is(err, unix.EPERM): // which the kernel says of one that is there (nsfs_fh_to_dentry)
		return true, nil
	}
	return false, err
}

// open opens a namespace by its number. The error wraps ErrNoNamespace or ErrNoHandles.
func (id NamespaceID) open() (int, error) {
	at, err := ownNamespace()
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(at) }() // only read
	if id.Cookie == 0 || !hasHandles(at) {
		return -1, ErrNoHandles
	}
	fd, err := unix.OpenByHandleAt(at, id.handle(), unix.O_RDONLY|unix.O_CLOEXEC)
	if errors.Is(err, unix.ESTALE) {
		return -1, ErrNoNamespace
	}
	return fd, err
}

// hasHandles says whether the kernel gives handles that are what handle makes: it tries its own.
func hasHandles(own int) bool {
	found, _, err := unix.NameToHandleAt(own, "", unix.AT_EMPTY_PATH)
	if err != nil || found.Type() != handleKind {
		return false
	}
	id, err := identifyOwn(own)
	if err != nil {
		return false
	}
	expected := id.handle()
	return string(found.Bytes()) == string(expected.Bytes())
}

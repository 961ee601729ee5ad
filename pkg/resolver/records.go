package resolver

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/fairway-cni/fairway/pkg/names"
)

// records keeps the index equal to the records of this host.
type records struct {
	directory names.Directory
	index     *names.Index
	// changed is called with the namespaces whose records have changed.
	changed func(names.Space) error

	mu   sync.Mutex
	held map[string]held // by file

	catching sync.Mutex
	listed   stamp // of the directory as catchUp has listed it
}

// held is what is known of a file.
type held struct {
	space names.Space // zero: it holds no record that can be used
	stamp stamp
}

// newRecords takes over what an earlier resolver has entered in an index: its first scan reads it again.
func newRecords(d names.Directory, index *names.Index, changed func(names.Space) error) *records {
	r := &records{directory: d, index: index, changed: changed, held: map[string]held{}}
	for _, key := range index.Keys() {
		if names.IsFile(key) {
			r.held[key] = held{}
		}
	}
	return r
}

// load reads one file again, or finds that it has gone, and has the change acted on.
func (r *records) load(file string) error {
	if !names.IsFile(file) {
		return nil
	}
	before, after, err := r.enter(file)
	errs := []error{err}
	for i, space := range []names.Space{before, after} {
		if space != (names.Space{}) && (i == 0 || before != after) {
			errs = append(errs, r.changed(space))
		}
	}
	return errors.Join(errs...)
}

// enter changes the index, and gives the namespaces that the record was of and is of. The lock keeps an older content of a
// file from being entered after a newer one.
func (r *records) enter(file string) (before, after names.Space, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before = r.held[file].space
	stamp := r.stamp(file) // of this content, or of an older one
	record, err := r.directory.Read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		delete(r.held, file)
		r.index.Delete(file)
		return before, after, nil
	case err != nil:
		r.index.Delete(file)
	default:
		after = record.Netns.Space()
		r.index.Set(file, record)
	}
	r.held[file] = held{after, stamp}
	return before, after, err
}

// differs says whether a file has changed since it was read: a plugin may have told of it before the event comes.
func (r *records) differs(file string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[file].stamp != r.stamp(file)
}

func (r *records) stamp(file string) stamp {
	s := look(filepath.Join(string(r.directory), file))
	s.racy = false
	return s
}

// scan compares all files with what is held. It is done at first, and then to find what no event told.
func (r *records) scan() error {
	files, err := r.directory.Files()
	if err != nil {
		return err
	}
	r.mu.Lock()
	present := make(map[string]bool, len(files))
	var differ []string
	for _, file := range files {
		present[file] = true
		if r.held[file].stamp != r.stamp(file) {
			differ = append(differ, file)
		}
	}
	for file := range r.held {
		if !present[file] {
			differ = append(differ, file)
		}
	}
	r.mu.Unlock()
	return r.loadAll(differ)
}

// catchUp enters the records that are new in the directory. What follows from them is left to whoever tells of them, or to the event.
// A directory that has not changed costs a stat.
func (r *records) catchUp() {
	r.catching.Lock() // who comes second waits for what the first one enters
	defer r.catching.Unlock()
	now := look(string(r.directory))
	if now == r.listed && !now.racy {
		return
	}
	files, err := r.directory.Files()
	if err != nil {
		return // the audit says so
	}
	r.listed = now
	for _, file := range files {
		r.mu.Lock()
		_, known := r.held[file]
		r.mu.Unlock()
		if known {
			continue
		}
		_, _, _ = r.enter(file) // likewise
		r.mu.Lock()
		if h, ok := r.held[file]; ok {
			h.stamp = stamp{} // it differs still for whoever comes
			r.held[file] = h
		}
		r.mu.Unlock()
	}
}

// loadAll loads files side by side: most of the time goes to system calls in their namespaces.
func (r *records) loadAll(files []string) error {
	const atOnce = 8
	var wg sync.WaitGroup
	errs := make([]error, len(files))
	turn := make(chan struct{}, atOnce)
	for i, file := range files {
		turn <- struct{}{}
		wg.Go(func() {
			errs[i] = r.load(file)
			<-turn
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// follow loads files as they change, until the context ends. Without inotify, changes that no plugin tells of are found by
// the audit.
func (r *records) follow(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		err = watcher.Add(string(r.directory))
	}
	if err != nil {
		slog.Warn("inotify limit reached: changed records are found by the audit only", "error", err)
		<-ctx.Done()
		return ctx.Err()
	}
	if err := r.scan(); err != nil { // what changed before the watch
		slog.Warn("record of names not used", "error", err)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-watcher.Events:
			for file := range gather(watcher.Events, e) {
				if names.IsFile(file) && r.differs(file) {
					r.act(file)
				}
			}
		case err := <-watcher.Errors:
			slog.Warn("changes of records were missed", "error", err)
			r.act("")
		}
	}
}

// gather waits for what a plugin says of the record that it is about to put or remove, which leaves nothing to do here, and gives the
// files of that event and of those that came meanwhile: each ends and begins with several, on the processors that the plugin needs.
func gather(events <-chan fsnotify.Event, first fsnotify.Event) map[string]bool {
	const patience, quiet, most = 10 * time.Millisecond, time.Millisecond, 50 * time.Millisecond
	files := map[string]bool{filepath.Base(first.Name): true}
	time.Sleep(patience)
	for end := time.Now().Add(most); time.Now().Before(end); {
		select {
		case e := <-events:
			files[filepath.Base(e.Name)] = true
		case <-time.After(quiet):
			return files
		}
	}
	return files
}

// act loads a file, or whatever differs.
func (r *records) act(file string) {
	do := func() error { return r.load(file) }
	if file == "" {
		do = r.scan
	}
	if err := do(); err != nil {
		slog.Warn("record of names not used", "error", err)
	}
}

// every calls f at an interval until the context ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Metadata is what is read of an object: apimachinery's PartialObjectMetadata, as far as we use it.
type Metadata struct {
	Name            string            `json:"name"`
	Namespace       string            `json:"namespace"`
	UID             string            `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Labels          map[string]string `json:"labels"`
	Annotations     map[string]string `json:"annotations"`
	Owners          []Owner           `json:"ownerReferences"`
}

// Owner is what an object belongs to: metav1.OwnerReference, as far as we use it.
type Owner struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
	Controller bool   `json:"controller"`
}

// controller returns what made an object and looks after it.
func controller(m *Metadata) (Owner, bool) {
	for _, o := range m.Owners {
		if o.Controller {
			return o, true
		}
	}
	return Owner{}, false
}

// Objects says which objects are watched; selectors are written as the API takes them, and empty for all.
type Objects struct {
	// Path is of the list: /api/v1/nodes, /api/v1/pods.
	Path          string
	LabelSelector string
	FieldSelector string
}

// The kinds of answer, which carry metadata and nothing else.
const (
	listOfMetadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	metadata       = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)

// Bounds of a watch. The server ends it after watchTimeout, and we soon after, if it does not.
const (
	pageSize     = 500
	watchTimeout = 5 * time.Minute
	retryFirst   = time.Second
	retryLast    = time.Minute
	objectMax    = 4 << 20 // of one event; etcd holds no object above 1.5 MiB
)

// Watcher gets the objects. Its methods are called one after the other.
type Watcher interface {
	// Replace gives all objects that are there.
	Replace(all []Metadata)
	// Put gives an object that is new or has changed.
	Put(m Metadata)
	// Delete gives one that is gone.
	Delete(m Metadata)
	// Unread says why the server does not answer, or nil once it does again. What came before is kept.
	Unread(err error)
}

// Watch tells w of the objects until ctx is cancelled: all of them, then each change, and all again where
// changes may have been missed. A server that does not answer is asked again after 1 s at first, then up to a minute.
func (c *Client) Watch(ctx context.Context, o Objects, w Watcher) error {
	wait := retryFirst
	version := ""
	for {
		began := time.Now()
		var err error
		if version == "" {
			version, err = c.list(ctx, o, w)
		}
		if err == nil {
			w.Unread(nil)
			version, err = c.follow(ctx, o, version, w)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		long := time.Since(began) > retryLast
		switch {
		case err == nil && long: // the server ended the watch in good order
			wait = retryFirst
			continue
		case err == nil: // at once: something between us and the server ends it
		case expired(err):
			version = ""
		default:
			w.Unread(err)
		}
		if long {
			wait = retryFirst
		}
		// Agents whose server was away do not come back all at once.
		if err := pause(ctx, wait/2+rand.N(wait)); err != nil {
			return err
		}
		wait = min(2*wait, retryLast)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func (o Objects) query() url.Values {
	q := url.Values{}
	if o.LabelSelector != "" {
		q.Set("labelSelector", o.LabelSelector)
	}
	if o.FieldSelector != "" {
		q.Set("fieldSelector", o.FieldSelector)
	}
	return q
}

// list reads all objects, in pages, and returns the version that changes follow on.
func (c *Client) list(ctx context.Context, o Objects, w Watcher) (version string, err error) {
	all, version, err := c.List(ctx, o)
	if err == nil {
		w.Replace(all)
	}
	return version, err
}

// List returns all objects, and the version of the list.
func (c *Client) List(ctx context.Context, o Objects) (all []Metadata, version string, err error) {
	q := o.query()
	q.Set("limit", strconv.Itoa(pageSize))
	for {
		var page struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			} `json:"metadata"`
			Items []struct {
				Metadata Metadata `json:"metadata"`
			} `json:"items"`
		}
		body, err := c.get(ctx, o.Path, listOfMetadata, q)
		if err != nil {
			return nil, "", err
		}
		err = json.NewDecoder(io.LimitReader(body, pageSize*objectMax)).Decode(&page)
		_ = body.Close()
		if err != nil {
			return nil, "", fmt.Errorf("list %s: %w", o.Path, err)
		}
		for _, item := range page.Items {
			all = append(all, item.Metadata)
		}
		if page.Metadata.Continue == "" {
			return all, page.Metadata.ResourceVersion, nil
		}
		q.Set("continue", page.Metadata.Continue)
	}
}

// event is a line of a watch: metav1.WatchEvent. Object is a Status where the type is ERROR.
type event struct {
	Type   string `json:"type"`
	Object struct {
		Metadata Metadata `json:"metadata"`
		Code     int      `json:"code"`
		Message  string   `json:"message"`
	} `json:"object"`
}

// follow tells w of the changes after version, until the server ends the watch or it breaks. It returns the
// version to go on from.
func (c *Client) follow(ctx context.Context, o Objects, version string, w Watcher) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout+30*time.Second)
	defer cancel()
	q := o.query()
	q.Set("watch", "1")
	q.Set("resourceVersion", version)
	q.Set("allowWatchBookmarks", "true")
	q.Set("timeoutSeconds", strconv.Itoa(int(watchTimeout.Seconds())))
	body, err := c.get(ctx, o.Path, metadata, q)
	if err != nil {
		return version, err
	}
	defer func() { _ = body.Close() }()
	limited := &io.LimitedReader{R: body}
	dec := json.NewDecoder(limited)
	for {
		limited.N = objectMax
		var e event
		switch err := dec.Decode(&e); {
		case errors.Is(err, io.EOF) && limited.N > 0:
			return version, nil
		case err != nil:
			return version, fmt.Errorf("watch %s: %w", o.Path, err)
		}
		switch e.Type {
		case "ADDED", "MODIFIED":
			w.Put(e.Object.Metadata)
		case "DELETED":
			w.Delete(e.Object.Metadata)
		case "BOOKMARK": // only its version is new
		case "ERROR":
			if e.Object.Code == 0 {
				e.Object.Code = http.StatusInternalServerError
			}
			return version, &statusError{e.Object.Code, e.Object.Message}
		default:
			return version, fmt.Errorf("watch %s: event of unknown type %.20q", o.Path, e.Type)
		}
		version = e.Object.Metadata.ResourceVersion
	}
}

package rules

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	backendName = regexp.MustCompile(`^[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$`)
	headerName  = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9a-zA-Z]+$") // RFC 9110, token
)

// backends reads `backends:`. Secrets are only ever named by their files.
func (d *document) backends(n *yaml.Node) []Backend {
	var out []Backend
	seen := map[string]bool{}
	for i, item := range d.list(n, "backends") {
		path := index("backends", i)
		f := d.mapping(item, path, "name", "url", "urls", "bearerTokenFile", "basicAuth", "tls", "headers", "matchLabels", "timeout", "maxGetLength")
		b := Backend{
			Name:            d.text(f.value["name"], path+".name"),
			URLs:            d.urls(item, f, path),
			BearerTokenFile: d.text(f.value["bearerTokenFile"], path+".bearerTokenFile"),
			BasicAuth:       d.basicAuth(f.value["basicAuth"], path+".basicAuth"),
			TLS:             d.tls(f.value["tls"], path+".tls"),
			Headers:         d.headers(f.value["headers"], path+".headers"),
			MatchLabels:     d.matchLabels(f.value["matchLabels"], path+".matchLabels"),
			Timeout:         d.duration(f.value["timeout"], path+".timeout", 100*time.Millisecond, 5*time.Minute),
			MaxGetLength:    d.maxGetLength(f.value["maxGetLength"], path+".maxGetLength"),
		}
		switch {
		case !backendName.MatchString(b.Name):
			d.problem(or(f.value["name"], item), path+".name", "must be 1 to 63 letters, digits, -, _ or ., beginning and ending with a letter or digit")
		case seen[b.Name]:
			d.problem(f.value["name"], path+".name", "another backend has this name")
		}
		seen[b.Name] = true
		if b.BearerTokenFile != "" && b.BasicAuth != nil {
			d.problem(f.value["basicAuth"], path+".basicAuth", "cannot stand beside bearerTokenFile; keep one")
		}
		out = append(out, b)
	}
	return out
}

// or is the first node that is there, for a problem's line.
func or(nodes ...*yaml.Node) *yaml.Node {
	for _, n := range nodes {
		if n = target(n); n != nil {
			return n
		}
	}
	return nil
}

func (d *document) urls(item *yaml.Node, f fields, path string) []string {
	var nodes []*yaml.Node
	if f.has("url") {
		nodes = append(nodes, f.value["url"])
		path += ".url"
		if f.has("urls") {
			d.problem(&yaml.Node{Line: f.value["urls"].Line}, path, "url and urls cannot both be given; keep urls")
		}
	} else {
		path += ".urls"
		nodes = d.list(f.value["urls"], path)
	}
	var out []string
	for i, n := range nodes {
		at := path
		if !f.has("url") {
			at = index(path, i)
		}
		text := d.text(n, at)
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			d.problem(target(n), at, "must be a URL such as https://prometheus.monitoring:9090")
		case u.User != nil:
			// The value is left out of the message: it may hold a password.
			d.problem(&yaml.Node{Line: n.Line}, at, "must not hold a user or password; use basicAuth with a passwordFile")
		case u.Fragment != "":
			d.problem(target(n), at, "must not have a #fragment")
		default:
			out = append(out, strings.TrimRight(text, "/"))
		}
	}
	if len(nodes) == 0 {
		d.problem(&yaml.Node{Line: item.Line}, path, "must name at least one URL; several are tried in order")
	}
	return out
}

func (d *document) basicAuth(n *yaml.Node, path string) *BasicAuth {
	n = target(n)
	if isNull(n) {
		return nil
	}
	f := d.anyMapping(n, path)
	if p := f.value["password"]; p != nil {
		d.problem(&yaml.Node{Line: p.Line}, path+".password", "secrets do not stand in this file; write passwordFile: PATH")
		return nil
	}
	d.allow(f, path, "username", "passwordFile")
	a := &BasicAuth{Username: d.text(f.value["username"], path+".username"), PasswordFile: d.text(f.value["passwordFile"], path+".passwordFile")}
	if a.Username == "" || a.PasswordFile == "" || strings.Contains(a.Username, ":") {
		d.problem(n, path, "needs username (without a colon) and passwordFile")
	}
	return a
}

func (d *document) tls(n *yaml.Node, path string) TLS {
	f := d.anyMapping(n, path)
	if skip := f.value["insecureSkipVerify"]; skip != nil {
		d.problem(skip, path+".insecureSkipVerify", "is not offered; name the certificate authority with caFile, and the name in the certificate with serverName")
		delete(f.value, "insecureSkipVerify")
		return TLS{}
	}
	d.allow(f, path, "caFile", "certFile", "keyFile", "serverName")
	t := TLS{
		CAFile:     d.text(f.value["caFile"], path+".caFile"),
		CertFile:   d.text(f.value["certFile"], path+".certFile"),
		KeyFile:    d.text(f.value["keyFile"], path+".keyFile"),
		ServerName: d.text(f.value["serverName"], path+".serverName"),
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		d.problem(target(n), path, "certFile and keyFile go together")
	}
	return t
}

func (d *document) headers(n *yaml.Node, path string) map[string][]string {
	f := d.anyMapping(n, path)
	var out map[string][]string
	for _, key := range f.keys {
		at, value := path+"."+key.Value, f.value[key.Value]
		switch {
		case !headerName.MatchString(key.Value):
			d.problem(key, at, "is not a header name")
			continue
		case strings.EqualFold(key.Value, "Authorization") || strings.EqualFold(key.Value, "Cookie"):
			d.problem(&yaml.Node{Line: key.Line}, at, "secrets do not stand in this file; use bearerTokenFile or basicAuth")
			continue
		}
		values := []*yaml.Node{value}
		if v := target(value); v != nil && v.Kind == yaml.SequenceNode {
			values = v.Content
		}
		for _, v := range values {
			text := d.text(v, at)
			if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				d.problem(target(v), at, "must not have line breaks or control characters")
				continue
			}
			if out == nil {
				out = map[string][]string{}
			}
			out[key.Value] = append(out[key.Value], text)
		}
	}
	return out
}

func (d *document) matchLabels(n *yaml.Node, path string) map[string]string {
	f := d.anyMapping(n, path)
	var out map[string]string
	for _, key := range f.keys {
		if !isLabelName(key.Value) || key.Value == "__name__" {
			d.problem(key, path+"."+key.Value, "must be a Prometheus label name: letters, digits and _, not beginning with a digit")
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[key.Value] = d.text(f.value[key.Value], path+"."+key.Value)
	}
	return out
}

func (d *document) maxGetLength(n *yaml.Node, path string) int {
	n = target(n)
	if isNull(n) {
		return 0
	}
	const most = 1 << 20
	got, err := strconv.Atoi(d.text(n, path))
	if err != nil || got < 0 || got > most {
		d.problem(n, path, "must be a number of bytes from 0 (always POST) to %d", most)
		return 0
	}
	if got == 0 {
		return AlwaysPost
	}
	return got
}

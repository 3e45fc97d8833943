#!/usr/bin/perl
# Clients of thumbd that curl cannot be. Prints "ok: NAME" or "FAILED: NAME:
# why" for each check; check.sh counts the lines.
#
#   raw.pl clients PORT IMAGE         most of them
#   raw.pl slow PORT                  a server with --idle-ms 500
#   raw.pl gone PORT                  one worker, test faults
#   raw.pl drain PORT IMAGE PID       sends SIGTERM to PID
#   raw.pl session SID                processes of a session: "alive zombies"
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER);

my ($what, @arguments) = @ARGV;
my $port = $arguments[0];
my $patience = 20;
$SIG{PIPE} = 'IGNORE';
$| = 1;

sub result {
    my ($name, $good, $why) = @_;
    print $good ? "ok: $name\n" : "FAILED: $name: " . ($why // '?') . "\n";
}

sub dial {
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
        Timeout => $patience) || die "no connection: $@\n";
}

# Everything until the end of the stream, or until $enough($text) holds.
sub hear {
    my ($socket, $enough) = @_;
    my $text = '';
    while (!($enough && $enough->($text))) {
        return "$text(silence)" if !IO::Select->new($socket)->can_read($patience);
        my $n = sysread $socket, my $part, 65536;
        return $text . "(reset)" if !defined $n;
        last if $n == 0;
        $text .= $part;
    }
    return $text;
}

sub say_all {
    my ($socket, $text) = @_;
    my $at = 0;
    while ($at < length $text) {
        my $n = syswrite $socket, $text, 65536, $at;
        return 0 if !defined $n;
        $at += $n;
    }
    return 1;
}

# The replies of a stream: [status, head, body], and what is left over.
sub replies {
    my ($text) = @_;
    my @replies;
    while ($text =~ s/\A(HTTP\/1\.1 (\d+) .*?\r\n\r\n)//s) {
        my ($head, $status) = ($1, $2);
        my ($length) = $head =~ /^Content-Length: (\d+)/m;
        $length = 0 if $status == 100;
        last if !defined $length;
        push @replies, [$status, $head, substr $text, 0, $length, ''];
    }
    return @replies;
}

sub statuses { return join ' ', map { $_->[0] } replies($_[0]) }
sub count { my $n = shift; return sub { scalar(replies($_[0])) >= $n } }

sub slurp {
    open my $file, '<:raw', $_[0] or die "$_[0]: $!\n";
    local $/;
    return scalar <$file>;
}

sub post {
    my ($body, $more) = @_;
    return "POST /thumbnail HTTP/1.1\r\nHost: a\r\nContent-Length: "
        . length($body) . "\r\n" . ($more // '') . "\r\n$body";
}

sub get { return "GET $_[0] HTTP/1.1\r\nHost: a\r\n\r\n" }

# Send, then hear all that comes until the server closes.
sub ask {
    my ($text) = @_;
    my $socket = dial();
    say_all($socket, $text);
    return hear($socket);
}

sub expect {
    my ($name, $text, $wanted) = @_;
    my $answer = ask($text);
    my $got = statuses($answer);
    result($name, $got eq $wanted && $answer !~ /\((reset|silence)\)\z/,
        "'$got', not '$wanted': " . substr $answer, -100);
}

# A figure of /stats.json, asked until it is as wanted.
sub await_figure {
    my ($name, $good) = @_;
    my $value;
    for (1 .. $patience * 20) {
        my $socket = dial();
        say_all($socket, get('/stats.json'));
        my ($reply) = replies(hear($socket, count(1)));
        ($value) = $reply->[2] =~ /"$name":([\d.]+)/;
        return (1, $value) if $good->($value);
        select undef, undef, undef, 0.05;
    }
    return (0, $value);
}

# Close with a reset.
sub slam {
    my ($socket) = @_;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    close $socket;
}

my $close = "Connection: close\r\n";

sub pipelining {
    my $image = slurp($arguments[1]);
    my $all = get('/healthz') . post($image) . get('/nothing')
        . get('/stats.json') x 8 . post('no image') . post($image, $close);
    my $wanted = '200 200 404' . ' 200' x 8 . ' 502 200';
    expect('13 pipelined requests, replies in order', $all, $wanted);
    my @types = map { $_->[1] =~ /^Content-Type: ([a-z\/]+)/m } replies(ask($all));
    result('pipelined replies are of the right kind',
        "@types[0, 1, 3, 12]" eq
            'text/plain image/jpeg application/json image/jpeg', "@types");
    expect('nothing is read after Connection: close',
        post($image, $close) . get('/healthz'), '200');
}

sub bytewise {
    my $image = slurp($arguments[1]);
    my $socket = dial();
    setsockopt $socket, 6, 1, 1; # TCP_NODELAY
    syswrite $socket, $_ for split //, post(substr($image, 0, 2000), $close);
    my $got = statuses(hear($socket));
    result('a request byte by byte', $got eq '502', $got);
    $socket = dial();
    setsockopt $socket, 6, 1, 1;
    syswrite $socket, $_ for split //,
        "POST /thumbnail HTTP/1.1\r\nHost: a\r\n$close"
        . "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nA: b\r\n\r\n";
    $got = statuses(hear($socket));
    result('a chunked request byte by byte', $got eq '502', $got);
}

sub half_closed {
    my $socket = dial();
    say_all($socket, post(slurp($arguments[1])));
    shutdown $socket, 1;
    my $text = hear($socket);
    my ($reply) = replies($text);
    result('a half-closed client gets its reply',
        statuses($text) eq '200' && $reply->[1] =~ /image\/jpeg/, $text);
    $socket = dial();
    say_all($socket, substr post(slurp($arguments[1])), 0, 1000);
    shutdown $socket, 1;
    result('half a request and the end', hear($socket) eq '', 'a reply');
}

sub bad_requests {
    expect('garbage', "\x16\x03\x01 garbage\r\n\r\n", '400');
    expect('garbage after a request',
        get('/healthz') . "\x01\x02\r\n\r\n", '200 400');
    expect('no Host', "GET / HTTP/1.1\r\n\r\n", '400');
    expect('two Hosts', "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", '400');
    expect('HTTP/1.0 needs none', "GET /healthz HTTP/1.0\r\n\r\n", '200');
    expect('HTTP/2.0', "GET / HTTP/2.0\r\nHost: a\r\n\r\n", '505');
    expect('headers too large', "GET / HTTP/1.1\r\nHost: a\r\nA: "
            . 'a' x 100_000 . "\r\n\r\n", '431');
    expect('an address too long',
        get('/' . 'a' x 5000), '414');
    expect('no length',
        "POST /thumbnail HTTP/1.1\r\nHost: a\r\n$close\r\n", '411');
    expect('a length that is none', "POST /thumbnail HTTP/1.1\r\nHost: a\r\n"
            . "Content-Length: x\r\n\r\n", '400');
    expect('a length and chunks', "POST /thumbnail HTTP/1.1\r\nHost: a\r\n"
            . "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", '400');
    expect('a chunk size that is none', "POST /thumbnail HTTP/1.1\r\nHost: a\r\n"
            . "Transfer-Encoding: chunked\r\n\r\nzz\r\n", '400');
    expect('an encoding that is unknown', "POST /thumbnail HTTP/1.1\r\nHost: a\r\n"
            . "Transfer-Encoding: gzip\r\n\r\n", '400');
    expect('an expectation that is unknown', "POST /thumbnail HTTP/1.1\r\n"
            . "Host: a\r\nContent-Length: 3\r\nExpect: tea\r\n\r\n", '417');
    expect('an offer to change the protocol', "GET /healthz HTTP/1.1\r\nHost: a\r\n"
            . "Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n", '200');
    expect('CONNECT', "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", '404');
}

sub too_large {
    my $socket = dial();
    say_all($socket, post('x' x 30_000_000));
    my $got = statuses(hear($socket));
    result('413 reaches a client that goes on sending', $got eq '413', $got);
    $socket = dial();
    my $chunk = sprintf "%x\r\n%s\r\n", 65536, 'x' x 65536;
    say_all($socket, "POST /thumbnail HTTP/1.1\r\nHost: a\r\n"
            . "Transfer-Encoding: chunked\r\n\r\n" . $chunk x 300);
    $got = statuses(hear($socket));
    result('413 for too many chunks', $got eq '413', $got);
}

sub continues {
    my $socket = dial();
    my $go_on = "Expect: 100-continue\r\n$close";
    my $text = post('no image', $go_on);
    my ($head, $body) = $text =~ /\A(.*\r\n\r\n)(.*)\z/s;
    say_all($socket, post(slurp($arguments[1])) . $head);
    my $first = hear($socket, count(2));
    say_all($socket, $body);
    my $got = statuses($first . hear($socket));
    result('100 Continue waits for its turn', $got eq '200 100 502', $got);
    $socket = dial();
    $text =~ s/thumbnail/nothing/;
    ($head) = $text =~ /\A(.*\r\n\r\n)/s;
    say_all($socket, $head);
    $got = statuses(hear($socket));
    result('no 100 Continue for nothing', $got eq '404', $got);
}

sub disconnects {
    my $text = post(slurp($arguments[1]));
    for my $part (1, 10, 60, 1000, length($text) - 1, length $text) {
        for my $end (\&slam, sub { close $_[0] }) {
            my $socket = dial();
            say_all($socket, substr($text, 0, $part));
            $end->($socket);
        }
    }
    for my $end (\&slam, sub { close $_[0] }) { # in the middle of the replies
        my $socket = dial();
        say_all($socket, $text x 3);
        sysread $socket, my $some, 10;
        $end->($socket);
    }
    my ($good, $value) = await_figure('connections', sub { $_[0] == 1 });
    result('clients that go at any point', $good, "$value connections");
}

sub many_idle {
    my @sockets = map { dial() } 1 .. 1000;
    my ($good, $value) = await_figure('connections', sub { $_[0] >= 1001 });
    result('1,000 idle connections', $good, $value);
    my $got = statuses(ask(post(slurp($arguments[1]), $close)));
    result('a thumbnail beside them', $got eq '200', $got);
    my $answered = 0;
    say_all($_, get('/healthz')) for @sockets;
    for (@sockets) { $answered++ if statuses(hear($_, count(1))) eq '200' }
    result('each of them is answered', $answered == 1000, $answered);
    close $_ for @sockets;
    ($good, $value) = await_figure('connections', sub { $_[0] == 1 });
    result('all of them are gone', $good, $value);
}

sub slow {
    my $socket = dial();
    result('an idle connection is closed', hear($socket) eq '', 'not closed');
    $socket = dial();
    say_all($socket, get('/healthz'));
    my $text = hear($socket);
    result('and after a request', statuses($text) eq '200' && $text !~ /\)\z/, $text);
    $socket = dial();
    say_all($socket, "GET / HT");
    my $got = statuses(hear($socket));
    result('408 in the headers', $got eq '408', $got);
    $socket = dial();
    say_all($socket, get('/healthz') . substr post('x' x 100), 0, 80);
    $got = statuses(hear($socket));
    result('408 in the body', $got eq '200 408', $got);
    $socket = dial();
    setsockopt $socket, SOL_SOCKET, Socket::SO_RCVBUF(), 4096;
    say_all($socket, get('/') x 1000); # and takes nothing
    my ($good, $value) = await_figure('connections', sub { $_[0] == 1 });
    result('a client that takes nothing is closed', $good, $value);
}

sub gone {
    my @sockets = map { dial() } 1 .. 20;
    say_all($_, post('HANG')) for @sockets;
    my ($good, $value) = await_figure('pending', sub { $_[0] >= 18 });
    slam($_) for @sockets;
    ($good, $value) = await_figure('pending', sub { $_[0] == 0 });
    result('what clients left behind is cancelled', $good, $value);
}

sub drain {
    my (undef, $image, $pid) = @arguments;
    my @sockets = map { dial() } 1 .. 30;
    my $idle = dial();
    my $text = post(slurp($image));
    my $half = dial();
    say_all($half, substr $text, 0, 500);
    say_all($_, $text) for @sockets;
    say_all($_, get('/healthz')) for @sockets[0 .. 4];
    kill 'TERM', $pid;
    select undef, undef, undef, 0.02;
    say_all($half, substr $text, 500);
    my %seen;
    my $why = '';
    for (@sockets) {
        my $heard = hear($_);
        $why .= $_->[2] for grep { $_->[0] == 502 } replies($heard);
        $seen{statuses($heard) . ($heard =~ /\((reset|silence)\)\z/ ? $1 : '')}++;
    }
    my $seen = join ', ', map { "$seen{$_} x '$_'" } sort keys %seen;
    result('SIGTERM: what was sent is answered',
        ($seen{'200'} // 0) == 25
            && ($seen{'200 200'} // 0) + ($seen{'200 503'} // 0) == 5, "$seen $why");
    my $got = statuses(hear($half));
    result('SIGTERM: what was half sent is answered', $got eq '200', $got);
    result('SIGTERM: an idle connection is closed', hear($idle) eq '', '?');
    my $late = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
    result('SIGTERM: no new connection', !$late, 'connected');
}

sub session {
    my ($alive, $zombies) = (0, 0);
    for my $path (glob '/proc/[0-9]*/stat') {
        open my $file, '<', $path or next;
        my ($state, $parent, undef, $session) =
            (<$file> // '') =~ /\) (\S) (\d+) (\d+) (\d+)/ or next;
        next if $session != $port;
        if ($state ne 'Z') { $alive++ }
        elsif ($parent != 1) { $zombies++ }
    }
    print "$alive $zombies\n";
}

my %modes = (
    clients => sub {
        pipelining(); bytewise(); half_closed(); bad_requests(); too_large();
        continues(); disconnects(); many_idle();
    },
    slow => \&slow, gone => \&gone, drain => \&drain, session => \&session,
);
($modes{$what // ''} // die "see the head of raw.pl\n")->();

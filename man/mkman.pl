#!/usr/bin/perl
# Make the manual pages of section 3 from the headers, which are the contract:
# a page is a title, the structures and the functions whose names match.
#   mkman.pl page include/*.h >man/page.3
use strict;
use warnings;

my %pages = (
    pool_create => ['make and end process pools',
        qr/^pool_(create|prepare|shutdown|(?:terminate|kill)_workers|close|destroy|resize|worker_count
            |poll|fd|version|options|backend|drive|start|output|log\w*|shutdown_flags)$/x],
    pool_submit => ['run functions in a pool', qr/^pool_(submit\w*|task_options|retry|fn)$/],
    pool_future => ['ask about one task', qr/^pool_(future\w*|failure|done)$/],
    pool_wait => ['wait for several futures', qr/^pool_(wait(_mode)?|as_completed\w*)$/],
    pool_map => ['run a function on each of many inputs', qr/^pool_(map\w*|input)$/],
    pool_call => ['the view of a running task', qr/^pool_call\w*$/],
    pool_scatter => ['parameter sweeps: deal rows to workers',
        qr/^pool_(scatter\w*|rows\w*|job\w*|schedule|build|execute|release|progress|settled|restore)$/],
    pool_gather => ['parameter sweeps: the results, in rank order',
        qr/^pool_(gather|local_results|results\w*)$/],
    pool_mpi => ['pools over MPI', qr/^pool_(mpi_\w+|create_auto)$/],
    pool_comm => ['collectives between the ranks of a scatter',
        qr/^pool_(comm\w*|call_comm|barrier|bcast\w*|allgather|allreduce|gatherv|part|element|op)$/],
    pool_stats => ['what a pool has done and does', qr/^pool_(stats\w*|histogram\w*)$/],
    pool_encode => ['values to CBOR and back',
        qr/^pool_(encode|decode|vencode|vdecode|check\w*|enc\w*|dec\w*|item\w*|number)$/],
    pool_errors => ['error codes and messages', qr/^pool_(err\w*|strerror)$/],
);

my $page = shift @ARGV;
my ($title, $names) = @{$pages{$page} // die "mkman.pl: no page $page\n"};

# The headers as a list of [comment, declaration]; macros as [name, comment],
# whose comment begins with how they are written.
my (@blocks, @macros);
for my $file (@ARGV) {
    open my $in, '<', $file or die "mkman.pl: $file: $!\n";
    my $text = do { local $/; <$in> };
    close $in;
    while ($text =~ m{^(/\* (POOL_[A-Z]+)\((?:(?!\*/).)*\*/)}gms) {
        my ($comment, $name) = ($1, $2);
        push @macros, [$name, $comment] if lc($name) =~ $names;
    }
    $text =~ s/^#define \w+\(.*?[^\\]\n//gms;
    while ($text =~ m{(/\*(?:(?!\*/).)*?\*/\s*)?
        (^(?:POOL_API|static\ inline|typedef|enum)\b[^;{]*(?:\{[^}]*\}[^;]*)?;(?:\s*/\*[^*]*\*/)?)}gmsx) {
        push @blocks, [$1 // '', $2];
    }
}

sub prose { # a comment as lines of mdoc
    my ($comment) = @_;
    $comment =~ s{^\s*/\*+\s?|\s*\*+/\s*$}{}g;
    $comment =~ s{^\s\*\s?}{}gm;
    $comment =~ s/^-{2,}.*$//gm;
    my @out;
    for my $line (split /\n/, $comment) {
        $line =~ s/\\/\\e/g;
        $line =~ s/\s+$//;
        if ($line =~ /^(?:Errors|Ownership|Thread|Blocks|Returns|Semantics)\b/
            || $line =~ /^[a-z_]+(, [a-z_.]+)*:\s/) {
            push @out, '.br' if @out;
        } elsif ($line eq '') {
            push @out, '.Pp' if @out && $out[-1] ne '.Pp';
            next;
        }
        $line =~ s/^\s+//;
        push @out, map { /^[.']/ ? "\\&$_" : $_ }
            split /(?<=[.!?)])(?<!\.\.)\s+(?=[A-Z(\`"])|(?<=[.])\s+(?=[a-z])/, $line;
    }
    pop @out while @out && $out[-1] =~ /^\.(?:Pp|br)$/;
    return join "\n", @out;
}

sub synopsis { # a declaration as .Fo/.Fa/.Fc
    my ($text) = @_;
    $text =~ s{/\*.*?\*/}{}gs;
    $text =~ s/^(?:POOL_API|static inline)\s+//;
    $text =~ s/POOL_PRINTF\(.*?\)//;
    $text =~ s/\s+/ /g;
    my ($type, $name, $args) = $text =~ /^(.*?)\b(pool_\w+)\(\s*(.*)\)\s*;\s*$/
        or die "mkman.pl: cannot read: $text\n";
    $type =~ s/\s+$//;
    my $out = ".Ft \"$type\"\n.Fo $name\n";
    $out .= ".Fa \"$_\"\n" for split /, ?/, $args;
    return "$out.Fc\n";
}

my (%seen, @functions, @types, $last);
for my $block (@blocks) {
    my ($comment, $text) = @$block;
    if ($text =~ /^(?:POOL_API|static inline)/) {
        my ($name) = $text =~ /\b(pool_\w+)\s*\(/ or next;
        next if $name !~ $names || $seen{$name}++;
        if ($comment =~ /\S/ || !$last) {
            push @functions, $last = {comment => $comment, text => []};
        }
        push @{$last->{text}}, [$name, $text];
    } else {
        my ($name) = $text =~ /^(?:typedef )?(?:enum|struct) (pool_\w+)/;
        ($name) = $text =~ /\(\*(pool_fn|pool_\w+?(?=_fn))/ unless $name;
        my $kind = $text =~ /^typedef[^{]*\(/ ? 'callback' : 'type';
        next if !$name || $name !~ $names || $text !~ /[{(]/ || $seen{"$kind $name"}++;
        push @types, {comment => $comment, text => $text};
    }
}
die "mkman.pl: nothing for $page\n" unless @functions;

my @all = map { $_->[0] } map { @{$_->{text}} } @functions;
my $header = $page eq 'pool_encode' ? 'forkpool_codec.h' :
    $page eq 'pool_mpi' ? 'forkpool_mpi.h' : 'forkpool.h';
print <<"END";
.Dd November 22, 2026
.Dt \U$page\E 3
.Os forkpool
.Sh NAME
END
print ".Nm $_", ($_ eq $all[-1] ? "\n" : " ,\n") for @all;
print ".Nd $title\n.Sh SYNOPSIS\n.In $header\n";
for my $function (@functions) {
    print synopsis($_->[1]) for @{$function->{text}};
}
print ".Sh DESCRIPTION\n";
if ($page eq 'pool_mpi') { # what its header says first
    open my $in, '<', $ARGV[-1] or die;
    my ($text) = do { local $/; <$in> } =~ m{^(/\*.*?\*/)}s;
    $text =~ s/^ \* - /\n/gm;
    print prose($text), "\n";
}
for my $function (@functions) {
    my @names = map { $_->[0] } @{$function->{text}};
    print ".Ss ", join(', ', @names), "\n", prose($function->{comment}), "\n";
}
print ".Ss $_->[0]\n", prose($_->[1]), "\n" for @macros;
if ($page eq 'pool_errors') {
    print ".Sh ERRORS\n.Bl -tag -width POOL_ESHUTDOWN\n";
    for my $file (@ARGV) {
        open my $in, '<', $file or die;
        while (<$in>) {
            print ".It Dv POOL_$1\n$2\n" if /^    X\((\w+),.*?"(.*)"\)/;
        }
    }
    print ".El\n";
}
if (@types) {
    print ".Sh TYPES\n";
    for my $type (@types) {
        my $text = $type->{text};
        $text =~ s/\\/\\e/g;
        my $prose = prose($type->{comment});
        print "$prose\n" if $prose ne '';
        print ".Bd -literal\n$text\n.Ed\n";
    }
}
print ".Sh SEE ALSO\n";
my @others = grep { $_ ne $page } sort keys %pages;
print ".Xr $_ 3 ,\n" for @others;
print ".Xr forkpool 7\n";

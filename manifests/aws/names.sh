# shellcheck shell=sh
# Your names. Copy this file, put in your own, and read it into the shell that the steps of README.md are typed into:
# `. my-names.sh`. It works in bash and in sh.

export AWS_REGION=eu-west-3 AWS_DEFAULT_REGION=eu-west-3
export CLUSTER=verger
export PHOTOGRAPHS=my-photographs # the bucket that is read: a name that nobody on AWS has yet, or a bucket of yours
export RESULTS=my-results         # the bucket that is written
export PREFIX=verger              # where in it
export EMAIL=you@example.org      # who is told what the account costs
export MONTHLY_USD=50             # from when on

export ACCOUNT_ID MY_ADDRESS
ACCOUNT_ID=$(aws sts get-caller-identity --query Account --output text)
MY_ADDRESS=$(curl -fsS https://checkip.amazonaws.com)/32 # what may reach the cluster's API from outside

# A file with your names in it, on stdout.
fill() {
    filled=$(cat "$1") || return
    for name in CLUSTER PHOTOGRAPHS RESULTS PREFIX ACCOUNT_ID MY_ADDRESS VPC_ID PRIVATE_A PRIVATE_B OIDC_ISSUER; do
        case $filled in *"$name"*) ;; *) continue ;; esac
        eval "value=\${$name-}"
        [ -n "$value" ] || { echo "$1: set $name first" >&2; return 1; }
        filled=$(printf '%s\n' "$filled" | sed "s|$name|$value|g")
    done
    printf '%s\n' "$filled"
}

# What a stack says of itself: `output verger-network Vpc`.
output() {
    aws cloudformation describe-stacks --stack-name "$1" --output text \
        --query "Stacks[0].Outputs[?OutputKey=='$2'].OutputValue"
}

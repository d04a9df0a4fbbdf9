//! One contract for all sources, the fake and real servers alike, and what is each one's own.

mod aws;
mod consul;
mod contract;
mod environment;
mod etcd;
mod file;
mod redis;
mod stand_in;
mod subjects;
mod tls;
mod vault;
